"""Text embeddings of classes, and of generic backgrounds that compete with them.

Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023, https://arxiv.org/abs/2212.09506,
section 3.2; WeCLIP (CVPR 2024) and ExCEL (CVPR 2025) use the same texts. Synonyms of a class stand in one
text ("person with clothes,people,human").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wsss_bench.nn.class_prompts import prompt_ensemble, require_distinct_texts, require_known_words
from wsss_bench.nn.clip import CLIP
from wsss_bench.vocabulary import templates
from wsss_bench.vocabulary.class_texts import background_texts, class_texts


@dataclass(frozen=True)
class Texts:
    """What is said to CLIP.

    Args:
        classes: Name of a list of class texts (`vocabulary/class_texts`), or the text of each class by its
            name.
        backgrounds: Name of a list of background texts, or the texts themselves; an empty list lets the
            classes compete among themselves.
        templates: Name of a list of prompt templates (`vocabulary/templates.yaml`).
    """

    classes: str | dict[str, str] = "voc_clip_es"
    backgrounds: str | list[str] = "clip_es_voc"
    templates: str = "clean_origami"


class CompetingTexts(NamedTuple):
    """Unit vectors of width `D`, ordinary tensors that a gradient can pass."""

    classes: Tensor  # (C, D)
    backgrounds: Tensor  # (J, D)


@torch.inference_mode(False)
@torch.no_grad()
def embed_competing_texts(clip: CLIP, class_names: Sequence[str], texts: Texts) -> CompetingTexts:
    """Encode the texts of all classes and backgrounds, each averaged over the templates.

    Raises:
        ValueError: an unknown list, a class without text, a text that CLIP does not read or not to its end,
            or two texts that are the same to CLIP.
    """
    classes = class_texts(texts.classes, class_names, "model.init_args.texts.classes")
    backgrounds = background_texts(texts.backgrounds)
    patterns = templates(texts.templates)
    require_known_words(clip, [*classes, *backgrounds])
    for pattern in patterns:
        require_distinct_texts(clip, [pattern.format(text) for text in (*classes, *backgrounds)])
    return CompetingTexts(*(prompt_ensemble(clip, group, patterns) for group in (classes, backgrounds)))
