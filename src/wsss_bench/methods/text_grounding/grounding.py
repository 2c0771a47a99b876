"""What TCL and CoDe share: a frozen CLIP with a trained image segmenter, and their inference.

Cha et al., CVPR 2023, https://arxiv.org/abs/2212.00785; Wu et al., CVPR 2024,
https://arxiv.org/abs/2404.04231.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.text_grounding.image_segmenter import SIGMOID_SLOPE, ImageSegmenter, unit_pixels
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.frozen import Frozen
from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.nn.pamr import DILATIONS, pamr
from wsss_bench.vocabulary.synonyms import Names


@dataclass(frozen=True)
class MaskInference:
    """Settings of mask inference. Defaults are those of TCL and CoDe.

    Args:
        background: Constant score of the background (published without PAMR: 0.5).
        kp_weight: Weight of frozen CLIP's own masks in the score, in [0, 1] (TCL's knowledge preservation,
            KP).
        templates: Name of the prompt templates for the KP masks.
        pamr_dilations: Dilations of PAMR, in pixels of the masks; empty to skip PAMR.
        prompt_names: Name or names in the prompts of classes whose own name is not plain language,
            `{tvmonitor: [tv monitor, screen]}`, or `published` (`vocabulary/synonyms`). The score of a class
            is the best of its names.
    """

    background: float = 0.4
    kp_weight: float = 0.3
    templates: str = "custom"
    pamr_dilations: tuple[int, ...] = DILATIONS
    prompt_names: Names | None = None


class Grounding(nn.Module):
    """Frozen CLIP and the image segmenter on top of its patch tokens.

    Args:
        clip: Gets no gradient and is in no checkpoint.
        statistics: Mean and deviation that images are normalised with: ImageNet's (published) or CLIP's own.
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
    def score_to_logit(self) -> Tensor:
        """Factor from scores to logits, a scalar.

        The slope of a sigmoid at one half is `SIGMOID_SLOPE / 4` per unit of cosine. Multiplied by this
        factor, a step of the cosine there changes the logit as much as in CLIP itself.
        """
        # multiplied in float64, as numbers of Python are
        return (4 / SIGMOID_SLOPE * self.clip.model.logit_scale.exp().double()).float()

    def normalize(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> normalised input of both image encoders."""
        return self.clip.normalize(image) if self.imagenet is None else self.imagenet(image)

    def pixel_features(self, image: Tensor) -> Tensor:
        """Normalised `(B, 3, H, W)` -> pixel features `(B, D, 4h, 4w)`, any length."""
        with torch.no_grad():
            patches = self.clip.before_last_block(image)
        return self.segmenter(patches)

    def mask_size(self, image: Tensor) -> tuple[int, int]:
        """Height and width of the masks of `(B, 3, H, W)`."""
        height, width = image.shape[2:]
        return 4 * height // self.clip.patch_size, 4 * width // self.clip.patch_size

    def drop_block_gradients(self) -> None:
        """Remove the gradients of the copied block: the optimiser neither updates nor decays it.

        The block is part of the graph from the first step on, so that data-parallel ranks reduce its
        gradients in both stages.
        """
        for parameter in self.segmenter.block.parameters():
            parameter.grad = None

    def scores(self, image: Tensor, text: Tensor, kp_text: Tensor, settings: MaskInference) -> Tensor:
        """Soft masks at inference: image segmenter, PAMR, then mixed with frozen CLIP's masks (KP).

        Args:
            image: `(B, 3, H, W)`, normalised.
            text: `(M, D)` unit embeddings of names for the image segmenter.
            kp_text: `(M, D)` unit embeddings of names for frozen CLIP's masks.
            settings: PAMR and KP.

        Returns:
            `(B, M, 4h, 4w)` in [0, 1].
        """
        patches = self.clip.before_last_block(image)
        scores = self.segmenter.mask_logits(unit_pixels(self.segmenter(patches)), text).sigmoid()
        size = scores.shape[-2:]
        if settings.pamr_dilations:
            guide = F.interpolate(image, size, mode="bilinear", align_corners=True)
            scores = pamr(guide, scores, dilations=settings.pamr_dilations)
        if settings.kp_weight:
            cosines = torch.einsum("bdhw,cd->bchw", self.clip.dense_from_patches(patches), kp_text)
            kp_masks = torch.sigmoid(SIGMOID_SLOPE * (cosines - self.cosine_threshold))
            kp_masks = F.interpolate(kp_masks, size, mode="bilinear", align_corners=False)
            scores = settings.kp_weight * kp_masks + (1 - settings.kp_weight) * scores
        return scores

    def segmentation_logits(self, scores: Tensor, background: float) -> Tensor:
        """Scores `(B, C, h, w)` -> logits `(B, 1 + C, h, w)`, with a constant background score first."""
        constant = torch.full_like(scores[:, :1], background)
        return self.score_to_logit * torch.cat([constant, scores], dim=1)
