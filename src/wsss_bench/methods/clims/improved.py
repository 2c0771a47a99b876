"""CLIMS: class maps that CLIP agrees with.

Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic Segmentation", CVPR 2022,
https://arxiv.org/abs/2203.02668, in the improved version of https://github.com/CVI-SZU/CLIMS (commit f9546d3); the version of
the paper's tables is `clims_camera_ready.py`.

A CAM network goes on without pooling: the sigmoid of its maps cuts each image into object and background of each class that it
holds. A frozen CLIP must find the class in the object, must not find it in the background, and must not find scenery in the
object; the maps must be small. At inference the same network is read like a CAM.

Departures from the code, each told in docs/why_it_differs.md: the means and the sum are over the global batch whatever the
number of ranks; a batch without labels has zero losses; CLIP runs in the trainer's precision; SGD momentum 0 by default.
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
from wsss_bench.methods.clims.prompts import Prompts, clims_prompts, suspicious_background
from wsss_bench.methods.clims.text_matcher import TextMatcher, load_clip
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.resnet import ImageNetNormalize, ResNetStages
from wsss_bench.types import ImageBatch

PUBLISHED = LossWeights(object_text=10.0, background_text=24.0, suppression=1.0, area=0.2)
"""On VOC."""


class CLIMS(Method):
    """CAM network trained through CLIP. Parameter names are those of `CAM`, so that its checkpoint loads whole.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser; the head runs at `head_lr_scale` times its learning rate.
        backbone: timm ResNet name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None; a warm start replaces them.
        output_stride: Stride of the maps.
        frozen_stages: Stages without gradient; 1 is the stem.
        freeze_bn: Running statistics in training too. Published: False, also in the frozen stem.
        head_lr_scale: Learning rate of the head over that of the backbone.
        clip: Hub name, folder, or `package:mini/clip`.
        prompts: Name of a set in `methods/clims/prompts.yaml`, or template, classes and background nouns.
        loss_weights: Of the four terms.
        threshold: Cosine above which an object counts as showing a background noun.
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
                "prompts.background is by class, which only the camera-ready version reads; give one list of nouns, or use "
                "clims_camera_ready"
            )
        for noun, name in suspicious_background(prompts, self.class_names):
            warnings.warn(
                f"background prompt {noun!r} says the class {name!r}, which it will suppress", stacklevel=2
            )
        self.normalize = ImageNetNormalize()
        self.backbone = ResNetStages(backbone, weights, output_stride, frozen_stages, freeze_bn)
        self.head = nn.Conv2d(self.backbone.channels, len(self.class_names), 1, bias=False)
        self.head_lr_scale = head_lr_scale
        self.matcher = TextMatcher(load_clip(clip), prompts.class_sentences, prompts.background_sentences)
        self.loss_weights = loss_weights
        self.threshold = threshold

    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        image = self.normalize(
            batch.image
        )  # CLIP is shown ImageNet's statistics too: a masked-out pixel is their mean
        activation = self._class_maps(image).sigmoid()  # (B, C, h, w)
        cosines = self.matcher(activation, image, batch.labels)
        found = object_text_matching(clamp_similarity(cosines.object_text))
        missed = background_text_matching(clamp_similarity(cosines.background_text))
        scenery = background_suppression(cosines.object_background, self.threshold)
        weights = self.loss_weights
        return {
            "object_text": weights.object_text * mean_over_ranks(found),
            "background_text": weights.background_text * mean_over_ranks(missed),
            "suppression": weights.suppression * sum_over_ranks(scenery),
            "area": weights.area * area_regularization(activation),
        }

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        return self._class_maps(self.normalize(image)).relu()  # (B, C, h, w)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.backbone.parameters())},
            {"params": list(self.head.parameters()), "lr_scale": self.head_lr_scale},
        ]

    def _class_maps(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image)[-1])
