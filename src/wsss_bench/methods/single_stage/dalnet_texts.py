"""The frozen texts of DALNet: one text for each class, and background texts.

"DIAL: Dense Image-text ALignment for Weakly Supervised Semantic Segmentation", ECCV 2024,
https://arxiv.org/abs/2409.15801. The paper's own lists and template could not be obtained. The lists are our
choice: those of all images are in `vocabulary.class_texts`, those by class in `dalnet_texts.yaml`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.nn.class_prompts import prompt_ensemble, require_distinct_texts
from wsss_bench.nn.clip import CLIP
from wsss_bench.vocabulary import read
from wsss_bench.vocabulary import templates as prompt_templates
from wsss_bench.vocabulary.class_texts import background_texts, class_texts, require_all_classes

MAX_COSINE = 0.9
"""A background text whose cosine with a class text exceeds this is reported as too similar."""


@dataclass(frozen=True)
class TextConfig:
    """Texts and text encoder.

    Args:
        model: CLIP: hub name, folder, or `package:mini/clip`.
        templates: Name of a list of prompt templates.
        fg_set: Name of the list of class texts (`class_texts.yaml`), or the text of each class by its name.
        bg_set: Name of the list of background texts; or the texts: one list for `generic`, a list for each
            class for `class_related`.
        bg_mode: `generic`: one list for all images; `class_related`: an image uses the lists of its classes.
        center: Subtract the mean of all text embeddings and renormalise.
    """

    model: str = "openai/clip-vit-base-patch16"
    templates: str = "single"
    fg_set: str | dict[str, str] = "voc_clip_es"
    bg_set: str | list[str] | dict[str, list[str]] = "clip_es_voc"
    bg_mode: Literal["generic", "class_related"] = "generic"
    center: bool = False


class TextEmbeddings(NamedTuple):
    """Embeddings of `C` class texts and `J` background texts, and which background texts a class uses.

    Embeddings are unit vectors of width `E`.
    """

    foreground: Tensor  # (C, E)
    background: Tensor  # (J, E)
    class_backgrounds: Tensor  # (C, J) 1 where images of the class use the background text
    is_class_name: Tensor  # (C, J) 1 where the background text is a name of the class


@torch.no_grad()
def encode_texts(class_names: Sequence[str], config: TextConfig) -> TextEmbeddings:
    """Encode all texts; the text encoder is not kept.

    Warns about background texts that the encoder hardly distinguishes from a class text.

    Raises:
        ValueError: a class without a text, or an unknown list.
    """
    classes = class_texts(config.fg_set, class_names, "text.fg_set")
    if config.bg_mode == "generic":
        backgrounds = generic_texts(config.bg_set)
        by_class = dict.fromkeys(class_names, backgrounds)
    else:
        by_class = class_related_texts(config.bg_set, class_names)
        backgrounds = sorted({text for texts in by_class.values() for text in texts})
    clip, templates = CLIP(config.model), prompt_templates(config.templates)
    for template in templates:
        require_distinct_texts(clip, [template.format(text) for text in classes])
    vectors = torch.cat([prompt_ensemble(clip, texts, templates) for texts in (classes, backgrounds)])
    if config.center:
        vectors = F.normalize(vectors - vectors.mean(dim=0), dim=-1)
    foreground, background = (part.clone() for part in vectors.split([len(classes), len(backgrounds)]))
    used = torch.tensor([[text in by_class[c] for text in backgrounds] for c in class_names])
    is_name = torch.tensor(
        [
            [text in {c, class_text, *class_text.split(",")} for text in backgrounds]
            for c, class_text in zip(class_names, classes, strict=True)
        ]
    )
    too_similar = (foreground @ background.T > MAX_COSINE) & used & ~is_name
    if too_similar.any():
        pairs = [f"{backgrounds[j]} / {classes[c]}" for c, j in too_similar.nonzero().tolist()]
        warnings.warn(
            f"{config.model} hardly distinguishes {len(pairs)} background texts from class texts "
            f"(cosine above {MAX_COSINE}): {', '.join(pairs[:5])}{' ...' if len(pairs) > 5 else ''}; "
            "choose others with text.bg_set",
            stacklevel=2,
        )
    return TextEmbeddings(foreground, background, used.float(), is_name.float())


def generic_texts(bg_set: str | list[str] | dict[str, list[str]]) -> list[str]:
    """Background texts that all images use.

    Raises:
        ValueError: no such list, or texts by class.
    """
    if isinstance(bg_set, dict):
        raise ValueError(
            "text.bg_set has texts for each class; set text.bg_mode: class_related, or give one list of texts"
        )
    return background_texts(bg_set)


def class_related_texts(
    bg_set: str | list[str] | dict[str, list[str]], class_names: Sequence[str]
) -> dict[str, list[str]]:
    """Background texts of each class.

    Raises:
        ValueError: no such list, one list for all classes, or a class without texts.
    """
    if isinstance(bg_set, list):
        raise ValueError(
            "text.bg_set is one list of texts; set text.bg_mode: generic, or give a list for each class"
        )
    texts = _class_related(bg_set) if isinstance(bg_set, str) else bg_set
    require_all_classes(class_names, texts, "class-related", bg_set, "text.bg_set")
    return {c: list(texts[c]) for c in class_names}


def _class_related(name: str) -> dict[str, list[str]]:
    lists: dict[str, dict[str, list[str]]] = read("dalnet_texts", __package__)["class_related"]
    if name not in lists:
        raise ValueError(f"no class-related texts {name!r}; known: {', '.join(sorted(lists))}")
    return lists[name]
