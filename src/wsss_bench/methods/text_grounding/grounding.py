"""Masks for any text: what TCL and CoDe have in common, and their inference.

Cha et al., CVPR 2023, https://arxiv.org/abs/2212.00785; Wu et al., CVPR 2024, https://arxiv.org/abs/2404.04231.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.text_grounding.image_segmenter import SLOPE, ImageSegmenter
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.frozen import Frozen
from wsss_bench.nn.pamr import DILATIONS, pamr
from wsss_bench.nn.resnet import ImageNetNormalize


@dataclass(frozen=True)
class MaskReading:
    """How masks are read at inference. Defaults are those of TCL and CoDe.

    Args:
        background: Score of the background, the same everywhere (published without PAMR: 0.5).
        knowledge: Share of frozen CLIP's own masks in the score, in [0, 1].
        templates: Prompt templates of frozen CLIP's masks, by name.
        pamr_dilations: Of the refinement by colour, in pixels of the masks; empty for none.
    """

    background: float = 0.4
    knowledge: float = 0.3
    templates: str = "custom"
    pamr_dilations: tuple[int, ...] = DILATIONS


class Grounding(nn.Module):
    """Frozen CLIP and the image segmenter beside it.

    Args:
        clip: Gets no gradient and enters no checkpoint.
        statistics: Normalise images as ImageNet's (published) or as CLIP was trained.
        double: See `GatedDecoder`.
        cosine_threshold: See `ImageSegmenter`.
    """

    def __init__(
        self, clip: CLIP, statistics: Literal["imagenet", "clip"], double: bool, cosine_threshold: float
    ) -> None:
        super().__init__()
        self.frozen = Frozen(clip)
        self.imagenet = ImageNetNormalize() if statistics == "imagenet" else None
        self.segmenter = ImageSegmenter(clip, double, cosine_threshold)
        self.cosine_threshold = cosine_threshold

    @property
    def clip(self) -> CLIP:
        """The frozen model."""
        return self.frozen.network

    @property
    def sharpness(self) -> float:
        """Factor from scores to logits: where a mask is undecided, a step of the cosine then counts as much as in CLIP."""
        return 4 / SLOPE * self.clip.model.logit_scale.exp().item()

    def normalize(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> what both image encoders are shown."""
        return self.clip.normalize(image) if self.imagenet is None else self.imagenet(image)

    def pixels(self, image: Tensor) -> Tensor:
        """Normalised `(B, 3, H, W)` -> unit features `(B, D, 4h, 4w)`."""
        with torch.no_grad():
            patches = self.clip.before_last_block(image)
        return self.segmenter(patches)

    def mask_size(self, image: Tensor) -> tuple[int, int]:
        """Height and width of the masks of `(B, 3, H, W)`."""
        height, width = image.shape[2:]
        return 4 * height // self.clip.patch_size, 4 * width // self.clip.patch_size

    def drop_block_gradients(self) -> None:
        """Take the block's gradients from the optimiser: in the first stage it neither moves nor decays.

        The block is part of the graph from the first step on, so that data-parallel ranks reduce its gradients in both stages.
        """
        for parameter in self.segmenter.block.parameters():
            parameter.grad = None

    def scores(self, image: Tensor, text: Tensor, knowledge_text: Tensor, reading: MaskReading) -> Tensor:
        """Masks at inference.

        Args:
            image: `(B, 3, H, W)`, normalised.
            text: `(C, D)` unit embeddings.
            knowledge_text: The same for frozen CLIP's own masks.
            reading: How.

        Returns:
            `(B, C, 4h, 4w)` in [0, 1].
        """
        patches = self.clip.before_last_block(image)
        scores = self.segmenter.mask_logits(self.segmenter(patches), text).sigmoid()
        size = scores.shape[-2:]
        if reading.pamr_dilations:
            guide = F.interpolate(image, size, mode="bilinear", align_corners=True)
            scores = pamr(guide, scores, dilations=reading.pamr_dilations)
        if reading.knowledge:
            cosines = torch.einsum("bdhw,cd->bchw", self.clip.read_patches(patches), knowledge_text)
            known = torch.sigmoid(SLOPE * (cosines - self.cosine_threshold))
            known = F.interpolate(known, size, mode="bilinear", align_corners=False)
            scores = reading.knowledge * known + (1 - reading.knowledge) * scores
        return scores

    def segmentation_logits(self, scores: Tensor, background: float) -> Tensor:
        """Scores `(B, C, h, w)` with a constant background before them, sharpened: `(B, 1 + C, h, w)`."""
        level = torch.full_like(scores[:, :1], background)
        return self.sharpness * torch.cat([level, scores], dim=1)
