"""CLIP zero-shot: what the pretrained image-text model knows before any method learns. The floor of the table.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020. The dense read-out (each token of the last block attends to itself only) is that of TCL
(Cha et al., CVPR 2023) and CoDe (Wu et al., CVPR 2024); MaskCLIP (Zhou et al., ECCV 2022) also drops residual and MLP.

The cosine of a patch token with the sentence of a class is its score. A constant level stands for the background. Nothing
is trained.

Departures: CLIP's own image statistics, where TCL and CoDe feed ImageNet's; no PAMR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.methods.base import Method
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import require_known_words
from wsss_bench.vocabulary import templates as prompt_templates


class CLIPZeroShot(Method):
    """Dense CLIP similarity against a constant background.

    Args:
        class_names: Foreground classes, in label order.
        clip: Hub name, folder, or `package:mini/clip`.
        templates: Name of a list of prompt templates (`vocabulary/templates.yaml`); a class is the unit mean of its unit
            sentence embeddings.
        words: What CLIP reads for a class whose name is not plain language, e.g. `{tvmonitor: tv monitor}`.
        background: Cosine that a class has to exceed (0.25 is where TCL's and CoDe's mask probability is one half).
        slope: A seed is `sigmoid(slope * (cosine - background))` (10 in TCL and CoDe).
    """

    supervision = "none"
    batch_type = None
    open_vocabulary = True

    def __init__(
        self,
        class_names: Sequence[str],
        clip: str = "openai/clip-vit-base-patch16",
        templates: str = "custom",
        words: dict[str, str] | None = None,
        background: float = 0.25,
        slope: float = 10.0,
    ) -> None:
        super().__init__(class_names)
        self.clip = CLIP(clip).requires_grad_(False).eval()
        words = words or {}
        if unknown := set(words) - set(self.class_names):
            raise ValueError(
                f"words names classes that the data source does not have: {', '.join(sorted(unknown))}"
            )
        spoken = [words.get(name, name) for name in self.class_names]
        require_known_words(self.clip, spoken)
        self.prompts = [
            [template.format(name) for template in prompt_templates(templates)] for name in spoken
        ]
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
        dense = self.clip.dense(self.clip.normalize(image))  # (B, D, h, w)
        return torch.einsum("bdhw,cd->bchw", dense, self._class_embeddings(dense))

    def _class_embeddings(self, like: Tensor) -> Tensor:
        """`(C, D)` unit vectors, encoded once."""
        if self._text is None or self._text.device != like.device:
            means = [self.clip.encode_text(sentences).mean(dim=0) for sentences in self.prompts]
            self._text = F.normalize(torch.stack(means), dim=-1)
        return self._text.to(like.dtype)
