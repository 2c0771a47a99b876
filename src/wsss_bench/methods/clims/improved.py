"""CLIMS: class activation maps trained with a frozen CLIP (improved version).

Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic Segmentation", CVPR 2022,
https://arxiv.org/abs/2203.02668, in the improved version of https://github.com/CVI-SZU/CLIMS (commit
f9546d3). The version of the paper's tables is in `camera_ready.py`.

A CAM network is trained further without global pooling. The sigmoid of its maps splits an image, for each
class present, into an object region and a background region. A frozen CLIP compares them with text: the
object region must match the class (OTM), the background region must not (BTM), and the object region must not
match co-occurring background (CBS). An area term keeps the maps small (REG). At inference the network is used
like a CAM.

Departures from the authors' code, explained in docs/why_it_differs.md: means and sums run over the global
batch for any number of ranks; the CLIP losses of a batch without labels are zero; CLIP runs in the trainer's
precision; SGD momentum is 0 by default.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from wsss_bench.losses.ranks import mean_over_ranks, sum_over_ranks
from wsss_bench.methods.base import Method
from wsss_bench.methods.clims.losses import (
    LossWeights,
    area_regularization,
    background_suppression,
    background_text_matching,
    clamp_similarity,
    object_text_matching,
)
from wsss_bench.methods.clims.prompts import Prompts, background_nouns_naming_a_class, clims_prompts
from wsss_bench.methods.clims.text_matcher import TextMatcher, load_clip
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.backbone import build_backbone
from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.placement import CroppedGrid
from wsss_bench.types import ImageBatch

PUBLISHED = LossWeights(otm=10.0, btm=24.0, cbs=1.0, reg=0.2)
"""Weights of the improved version on VOC."""


class CLIMS(Method):
    """CAM network trained with CLIP losses.

    Parameter names equal those of `CAM`, so that a CAM checkpoint loads completely.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser and learning rate of the backbone; see `head_lr_scale` for the head.
        backbone: timm name of a ResNet or of another network (`nn/backbone.py`), or a recipe file.
        weights: `imagenet`, a checkpoint path, or None; a warm start replaces them.
        output_stride: Stride of the class maps.
        frozen_stages: Number of backbone stages without gradient; 1 freezes the stem.
        freeze_bn: Use the running BatchNorm statistics in training too. Published: False, also in the frozen
            stem.
        head_lr_scale: Learning rate of the head divided by that of the backbone.
        clip: Hub name, folder, or `package:mini/clip`.
        prompts: Name of a set in `methods/clims/prompts.yaml`, or template, classes and background nouns.
        loss_weights: Weights of the four loss terms.
        threshold: Cosine between object region and background prompt above which CBS penalises the pair.
    """

    supervision = "image+text"
    batch_type = ImageBatch

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(lr=2.5e-4),
        backbone: str = "resnet50.tv_in1k",
        weights: str | None = "imagenet",
        output_stride: int = 16,
        frozen_stages: int = 1,
        freeze_bn: bool = False,
        head_lr_scale: float = 10.0,
        clip: str = "openai/clip-vit-base-patch32",
        prompts: str | Prompts = "voc",
        loss_weights: LossWeights = PUBLISHED,
        threshold: float = 0.26,
    ) -> None:
        super().__init__(class_names, optim)
        prompts = clims_prompts(prompts, self.class_names)
        if isinstance(prompts.background, dict):
            raise ValueError(
                "prompts.background is by class, which only the camera-ready version reads; give one list "
                "of nouns, or use clims_camera_ready"
            )
        for noun, name in background_nouns_naming_a_class(prompts, self.class_names):
            warnings.warn(
                f"background prompt {noun!r} names the class {name!r}; CBS will suppress this class",
                stacklevel=2,
            )
        self.clip_normalize = ImageNetNormalize()
        self.backbone = build_backbone(backbone, weights, output_stride, frozen_stages, freeze_bn)
        self.normalize = self.backbone.normalize
        self.head = nn.Conv2d(self.backbone.channels, len(self.class_names), 1, bias=False)
        self.head_lr_scale = head_lr_scale
        self.seed_placement = CroppedGrid(output_stride)  # seeds are drawn as those of IRN
        self.matcher = TextMatcher(load_clip(clip), prompts.class_prompts, prompts.background_prompts)
        self.loss_weights = loss_weights
        self.threshold = threshold

    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        activation = self._class_maps(batch.image).sigmoid()  # (B, C, h, w)
        # CLIP sees ImageNet-normalised images: a masked-out pixel (0) has the mean colour of ImageNet
        similarities = self.matcher(
            activation, self.clip_normalize(batch.image), batch.labels, sum(batch.num_labels)
        )
        otm = object_text_matching(clamp_similarity(similarities.s_oo))
        btm = background_text_matching(clamp_similarity(similarities.s_bo))
        cbs = background_suppression(similarities.s_ob, self.threshold)
        weights = self.loss_weights
        return {
            "otm": weights.otm * mean_over_ranks(otm),
            "btm": weights.btm * mean_over_ranks(btm),
            "cbs": weights.cbs * sum_over_ranks(cbs),
            "reg": weights.reg * area_regularization(activation),
        }

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        return self._class_maps(image).relu()  # (B, C, h, w)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.backbone.parameters())},
            {"params": list(self.head.parameters()), "lr_scale": self.head_lr_scale},
        ]

    def _class_maps(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(self.normalize(image))[-1])
