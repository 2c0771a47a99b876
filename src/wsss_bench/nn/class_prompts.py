"""CLIP text embeddings of class names: the prompt ensemble, and the check that the tokenizer knows the names.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020, section 3.1.4 (prompt ensembling).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import has_known_token, tokenize


def prompt_ensemble(
    clip: CLIP, names: Sequence[str], templates: Sequence[str], unit_sentences: bool = True
) -> Tensor:
    """Normalised mean of the sentence embeddings of all templates, for each name.

    Each name is encoded as a batch of its own, so that memory does not grow with the number of names.

    Args:
        clip: CLIP with its text tower.
        names: `C` class names or other phrases; may be empty.
        templates: Prompt templates; `{}` in each stands for the name.
        unit_sentences: Normalise each sentence embedding before the mean (CLIP, CoDe; TCL does not).

    Returns:
        `(C, D)` unit vectors.
    """
    if not names:  # training without classes
        return clip.image_mean.new_zeros(0, clip.embed_dim)
    encode = clip.encode_text if unit_sentences else clip.embed_text
    means = [encode([template.format(name) for template in templates]).mean(dim=0) for name in names]
    return F.normalize(torch.stack(means), dim=-1)


def require_known_words(clip: CLIP, class_names: Sequence[str]) -> None:
    """Check that CLIP's tokenizer knows at least one word of every class name, and tells the names apart.

    Raises:
        ValueError: a name without a known token; all such classes would get the same mask. Or names that
            `require_distinct_texts` refuses.
    """
    tokens = tokenize(clip, class_names)
    unknown = [
        name for row, name in enumerate(class_names) if not has_known_token(clip, tokens.word_ids(row))
    ]
    if unknown:
        raise ValueError(
            f"CLIP's tokenizer knows no word of the class names {', '.join(map(repr, unknown))}; name these "
            "classes in plain words, or use another model.init_args.clip"
        )
    require_distinct_texts(clip, class_names)


def require_distinct_texts(clip: CLIP, texts: Sequence[str]) -> None:
    """Check that CLIP reads the text of every class to its end, and each as another sentence.

    Texts of equal tokens have equal embeddings, also where the tokenizer does not know the words in which
    they differ.

    Args:
        clip: CLIP with its tokenizer.
        texts: One for each class, as they are encoded.

    Raises:
        ValueError: a text that would be cut, or two that would have the same embedding.
    """
    limit = clip.text_length
    # one token more than is read, to see whether there are more
    rows = clip.tokenizer(list(texts), truncation=True, max_length=limit + 1)["input_ids"] if texts else []
    for text, tokens in zip(texts, rows, strict=True):
        if len(tokens) > limit:
            raise ValueError(
                f"the class text {text[:60]!r} ... has more than the {limit} tokens that CLIP reads; shorten "
                "it, or its end would be ignored"
            )
    first: dict[tuple[int, ...], str] = {}
    for text, tokens in zip(texts, rows, strict=True):
        other = first.setdefault(tuple(tokens), text)
        if other is not text:
            raise ValueError(
                f"the class texts {other!r} and {text!r} are the same to CLIP's tokenizer, so that both "
                "classes would get the same mask; use other words, or another CLIP"
            )
