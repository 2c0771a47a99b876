"""CLIMS as in the tables of its paper.

Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic Segmentation", CVPR 2022,
https://arxiv.org/abs/2203.02668, the camera-ready version: `previous_version/` of https://github.com/CVI-SZU/CLIMS.

Against the improved version (`clims.py`): a new head of a residual bottleneck and one unused map, CLIP's image statistics for
both networks, no clamp on similarities, heavier pairs of some classes, and scenery that belongs to a class, without a
threshold.

The published numbers need a CLIP that was fine-tuned on captions made of VOC's labels; `clip` takes the folder of one.
Departures as in `clims.py`, and: a cosine that is not positive stops the run (published: NaN).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.resnet import Bottleneck
from torch import Tensor, nn

from wsss_bench.losses.ranks import mean_over_ranks, sum_over_ranks
from wsss_bench.methods.base import Method
from wsss_bench.methods.clims.losses import (
    LossWeights,
    area_regularization,
    background_text_matching,
    class_background_suppression,
    object_text_matching,
)
from wsss_bench.methods.clims.prompts import Prompts, clims_prompts
from wsss_bench.methods.clims.text_matcher import TextMatcher, load_clip
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.resnet import ResNetStages
from wsss_bench.types import ImageBatch

PUBLISHED = LossWeights(object_text=10.0, background_text=25.0, suppression=29.5, area=1.15)


class CLIMSCameraReady(Method):
    """ResNet with a bottleneck head, trained through a fine-tuned CLIP.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser, one learning rate for all (published: the groups at 10 and 20 times it are empty).
        backbone: timm ResNet name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None; a warm start from CAM replaces the backbone's.
        output_stride: Stride of the maps.
        freeze_bn: Running statistics in training too. Published: False. Scale and shift never move.
        clip: Hub name, folder (of the fine-tuned model), or `package:mini/clip`.
        prompts: Name of a set in `methods/clims/prompts.yaml`, or template, classes and background nouns by class.
        loss_weights: Of the four terms.
        class_weight: Weight of the two matching terms for pairs of a class, 1 if not listed. They are not divided by its sum.
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
        freeze_bn: bool = False,
        clip: str = "openai/clip-vit-base-patch32",
        prompts: str | Prompts = "camera_ready_voc",
        loss_weights: LossWeights = PUBLISHED,
        class_weight: dict[str, float] | None = None,
    ) -> None:
        super().__init__(class_names, optim)
        prompts = clims_prompts(prompts, self.class_names)
        if isinstance(prompts.background, list):
            raise ValueError(
                "prompts.background is one list for all classes, which only the improved version reads; give nouns by "
                "class, or use clims"
            )
        class_weight = class_weight or {}
        if unknown := set(class_weight) - set(self.class_names):
            raise ValueError(
                f"class_weight names classes that the data source does not have: {', '.join(sorted(unknown))}"
            )
        self.backbone = ResNetStages(backbone, weights, output_stride, freeze_bn=freeze_bn)
        self.head = CameraReadyHead(self.backbone.channels, len(self.class_names), freeze_bn)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
        self.matcher = TextMatcher(load_clip(clip), prompts.class_sentences, prompts.background_sentences)
        self.loss_weights = loss_weights
        nouns = [prompts.background.get(name, []) for name in self.class_names]
        belongs = torch.tensor([[noun in own for noun in prompts.background_words] for own in nouns])
        self.belongs: Tensor  # (C, J) bool, background nouns of a class
        self.register_buffer("belongs", belongs, persistent=False)
        weight = torch.tensor([class_weight.get(name, 1.0) for name in self.class_names])
        self.class_weight: Tensor  # (C,)
        self.register_buffer("class_weight", weight, persistent=False)

    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        image = self._normalize(batch.image) * batch.valid[:, None]
        activation = self._class_maps(image).sigmoid()  # (B, C, h, w)
        cosines = self.matcher(activation, image, batch.labels)
        instance = self.class_weight[cosines.label]  # (M,)
        found = instance * object_text_matching(cosines.object_text)
        missed = instance * background_text_matching(cosines.background_text)
        scenery = class_background_suppression(cosines.object_background, self.belongs[cosines.label])
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
        return self._class_maps(self._normalize(image)).relu()  # (B, C, h, w)

    def _normalize(self, image: Tensor) -> Tensor:
        return self.matcher.clip.normalize(image)

    def _class_maps(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image)[-1])[:, 1:]


class CameraReadyHead(nn.Sequential):
    """A residual bottleneck with leaky ReLU, then one map per class and one that nothing reads (channel 0, as published).

    Args:
        channels: Of the features.
        classes: Number of foreground classes.
        freeze_bn: Always use the initial statistics, 0 and 1.
    """

    def __init__(self, channels: int, classes: int, freeze_bn: bool) -> None:
        bottleneck = Bottleneck(channels, channels // 4, act_layer=nn.LeakyReLU)
        super().__init__(bottleneck, nn.Conv2d(channels, classes + 1, 1, bias=False))
        self.freeze_bn = freeze_bn
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
        self.train()

    def train(self, mode: bool = True) -> CameraReadyHead:
        """Training mode; BatchNorm stays in evaluation mode where it is fixed."""
        super().train(mode)
        if self.freeze_bn:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self
