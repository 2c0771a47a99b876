"""The frozen texts that DALNet aligns its tokens with: one for each class, and those of background.

"DIAL: Dense Image-text ALignment for Weakly Supervised Semantic Segmentation", ECCV 2024, https://arxiv.org/abs/2409.15801.
The paper's own lists and template could not be read; these are choices of ours (`dalnet_texts.yaml`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.methods.single_stage.dalnet_texts import background_texts, foreground_texts, related_texts
from wsss_bench.nn.class_prompts import prompt_ensemble
from wsss_bench.nn.clip import CLIP
from wsss_bench.vocabulary import templates as prompt_templates

ALIKE = 0.9
"""Cosine from which a background text and a class text are too much alike."""


@dataclass(frozen=True)
class TextConfig:
    """What the frozen text encoder reads.

    Args:
        model: CLIP: hub name, folder, or `package:mini/clip`.
        templates: Name of a list of prompt templates.
        fg_set: Name of the texts of the classes (`dalnet_texts.yaml`).
        bg_set: Name of the texts of background.
        bg_mode: `generic`, one list for all images; `class_related`, those of the classes of an image.
        center: Subtract the mean of all vectors and renormalise.
    """

    model: str = "openai/clip-vit-base-patch16"
    templates: str = "single"
    fg_set: str = "voc_clip_es"
    bg_set: str = "clip_es_voc"
    bg_mode: Literal["generic", "class_related"] = "generic"
    center: bool = False


class AlignmentTexts(NamedTuple):
    """Unit vectors, and which background texts an image is pushed from; `C` classes, `J` background texts, width `E`."""

    foreground: Tensor  # (C, E)
    background: Tensor  # (J, E)
    suppressed_by: Tensor  # (C, J) 1 where an image of the class is pushed from the text
    names_class: Tensor  # (C, J) 1 where the text is the name of the class


@torch.no_grad()
def alignment_texts(class_names: Sequence[str], config: TextConfig) -> AlignmentTexts:
    """Encode all texts once; the text encoder is not kept.

    Raises:
        ValueError: a class without a text, or unknown lists.
    """
    classes = foreground_texts(config.fg_set, class_names)
    if config.bg_mode == "generic":
        names = background_texts(config.bg_set)
        related = dict.fromkeys(class_names, names)
    else:
        related = related_texts(config.bg_set, class_names)
        names = sorted({name for texts in related.values() for name in texts})
    clip, templates = CLIP(config.model), prompt_templates(config.templates)
    vectors = torch.cat([prompt_ensemble(clip, texts, templates) for texts in (classes, names)])
    if config.center:
        vectors = F.normalize(vectors - vectors.mean(dim=0), dim=-1)
    foreground, background = (part.clone() for part in vectors.split([len(classes), len(names)]))
    used = torch.tensor([[name in related[c] for name in names] for c in class_names])
    called = torch.tensor(
        [
            [name in {c, text, *text.split(",")} for name in names]
            for c, text in zip(class_names, classes, strict=True)
        ]
    )
    alike = (foreground @ background.T > ALIKE) & used & ~called
    if alike.any():
        pairs = [f"{names[j]} / {classes[c]}" for c, j in alike.nonzero().tolist()]
        warnings.warn(
            f"{config.model} takes {len(pairs)} background texts for classes (cosine above {ALIKE}): "
            f"{', '.join(pairs[:5])}{' ...' if len(pairs) > 5 else ''}; choose others with text.bg_set",
            stacklevel=2,
        )
    return AlignmentTexts(foreground, background, used.float(), called.float())
