"""CLIP zero-shot: dense segmentation by a pretrained CLIP, without any training. The lowest row of the table.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020. Dense features (each patch token of the last block attends to itself only)
as in TCL (Cha et al., CVPR 2023) and CoDe (Wu et al., CVPR 2024); MaskCLIP (Zhou et al., ECCV 2022) also
drops residual connection and MLP.

The score of a class is the cosine of a patch feature with the text embedding of the class. The background has
a constant score.

Departures: CLIP's own image statistics, where TCL and CoDe use ImageNet's; no PAMR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wsss_bench.methods.base import Method
from wsss_bench.nn.class_prompts import prompt_ensemble, require_distinct_texts, require_known_words
from wsss_bench.nn.clip import CLIP
from wsss_bench.vocabulary import templates as prompt_templates


class CLIPZeroShot(Method):
    """Dense CLIP similarity against a constant background.

    Args:
        class_names: Foreground classes, in label order.
        clip: Hub name, folder, or `package:mini/clip`.
        templates: Name of a list of prompt templates (`vocabulary/templates.yaml`); classes are embedded by
            `nn.class_prompts.prompt_ensemble`.
        prompt_names: Name in the prompts of a class whose own name is not plain language, e.g.
            `{tvmonitor: tv monitor}`.
        background: Cosine that a class has to exceed (0.25 is where TCL's and CoDe's mask probability is one
            half).
        slope: A seed is `sigmoid(slope * (cosine - background))` (10 in TCL and CoDe).

    Raises:
        ValueError: `prompt_names` has a key that is no class, or CLIP's tokenizer knows no word of a name.
    """

    supervision = "none"
    batch_type = None
    open_vocabulary = True

    def __init__(
        self,
        class_names: Sequence[str],
        clip: str = "openai/clip-vit-base-patch16",
        templates: str = "custom",
        prompt_names: dict[str, str] | None = None,
        background: float = 0.25,
        slope: float = 10.0,
    ) -> None:
        super().__init__(class_names)
        self.clip = CLIP(clip).requires_grad_(False).eval()
        prompt_names = prompt_names or {}
        if unknown := set(prompt_names) - set(self.class_names):
            raise ValueError(
                "prompt_names has classes that the data source does not have: " + ", ".join(sorted(unknown))
            )
        self.prompt_names = [prompt_names.get(name, name) for name in self.class_names]
        require_known_words(self.clip, self.prompt_names)
        self.templates = prompt_templates(templates)
        for template in self.templates:
            require_distinct_texts(self.clip, [template.format(name) for name in self.prompt_names])
        self.background = background
        self.slope = slope
        self._text: Tensor | None = None

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        return torch.sigmoid(self.slope * (self._cosines(image) - self.background))  # (B, C, h, w)

    def segmentation_logits(self, image: Tensor) -> Tensor:
        cosines = self._cosines(image)
        background = torch.full_like(cosines[:, :1], self.background)
        return self.clip.model.logit_scale.exp() * torch.cat([background, cosines], dim=1)  # (B, 1 + C, h, w)

    def _cosines(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> `(B, C, h, w)`, one value per patch."""
        dense = self.clip.dense(self.clip.normalize(image))  # (B, D, h, w)
        return torch.einsum("bdhw,cd->bchw", dense, self._class_embeddings(dense))

    def _class_embeddings(self, like: Tensor) -> Tensor:
        """`(C, D)` unit vectors on the device and in the type of `like`; encoded once per device."""
        if self._text is None or self._text.device != like.device:
            self._text = prompt_ensemble(self.clip, self.prompt_names, self.templates)
        return self._text.to(like.dtype)
