"""CLIMS in the camera-ready version, which produced the tables of the paper.

Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic Segmentation", CVPR 2022,
https://arxiv.org/abs/2203.02668; code: `previous_version/` of https://github.com/CVI-SZU/CLIMS.

Differences from the improved version (`improved.py`): a new head with a residual bottleneck and one unused
map; CLIP's image statistics for both networks; no clamp on the similarities; higher weights for the pairs of
some classes; class-related background prompts and no threshold in CBS.

The published numbers need a CLIP that was fine-tuned on captions made of VOC's image labels; `clip` takes the
folder of such a model. Departures as in `improved.py`, and: with negative cosines the loss is reported on the
other pairs (published: NaN); its gradient is the published one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.resnet import Bottleneck
from torch import Tensor, nn

from wsss_bench.losses.ranks import mean_over_ranks, sum_over_ranks, summed_over_ranks
from wsss_bench.methods.base import Method
from wsss_bench.methods.clims.losses import (
    LossWeights,
    area_regularization,
    background_text_matching,
    class_related_background_suppression,
    unclamped_object_text_matching,
)
from wsss_bench.methods.clims.prompts import Prompts, clims_prompts
from wsss_bench.methods.clims.text_matcher import TextMatcher, load_clip
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.backbone import build_backbone
from wsss_bench.nn.stages import keep_statistics
from wsss_bench.placement import CroppedGrid
from wsss_bench.types import ImageBatch

PUBLISHED = LossWeights(otm=10.0, btm=25.0, cbs=29.5, reg=1.15)
"""Weights of the camera-ready version on VOC."""


class CLIMSCameraReady(Method):
    """ResNet with a bottleneck head, trained with the losses of a fine-tuned CLIP.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser, one learning rate for all parameters (in the published code the groups with 10 and
            20 times the learning rate are empty).
        backbone: timm name of a ResNet or of another network (`nn/backbone.py`), or a recipe file.
        weights: `imagenet`, a checkpoint path, or None. A warm start from CAM replaces those of the backbone.
        output_stride: Stride of the class maps.
        freeze_bn: Use the running BatchNorm statistics in training too. Published: False. Scale and shift are
            never trained.
        clip: Hub name, folder (of the fine-tuned model), or `package:mini/clip`.
        prompts: Name of a set in `methods/clims/prompts.yaml`, or template, classes and background nouns by
            class.
        loss_weights: Weights of the four loss terms.
        class_weight: Weight of OTM and BTM for the pairs of a class, 1 if not listed. The mean over pairs is
            not divided by the sum of these weights.
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
                "prompts.background is one list for all classes, which only the improved version reads; give "
                "nouns by class, or use clims"
            )
        class_weight = class_weight or {}
        if unknown := set(class_weight) - set(self.class_names):
            raise ValueError(
                f"class_weight names classes that the data source does not have: {', '.join(sorted(unknown))}"
            )
        self.backbone = build_backbone(backbone, weights, output_stride, freeze_bn=freeze_bn)
        self.seed_placement = CroppedGrid(output_stride)  # seeds are drawn as those of IRN
        self.head = CameraReadyHead(self.backbone.channels, len(self.class_names), freeze_bn)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
        self.matcher = TextMatcher(load_clip(clip), prompts.class_prompts, prompts.background_prompts)
        self.loss_weights = loss_weights
        nouns = [prompts.background.get(name, []) for name in self.class_names]
        class_related = torch.tensor([[noun in own for noun in prompts.background_words] for own in nouns])
        self.class_related: Tensor  # (C, J) bool, whether a background noun is class-related for a class
        self.register_buffer("class_related", class_related, persistent=False)
        weight = torch.tensor([class_weight.get(name, 1.0) for name in self.class_names])
        self.class_weight: Tensor  # (C,)
        self.register_buffer("class_weight", weight, persistent=False)

    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        image = self._normalize(batch.image) * batch.valid[:, None]
        activation = self._class_maps(image).sigmoid()  # (B, C, h, w)
        similarities = self.matcher(activation, image, batch.labels, sum(batch.num_labels))
        pair_weight = self.class_weight[similarities.label]  # (M,)
        class_related = self.class_related[similarities.label]  # (M, J)
        otm = pair_weight * unclamped_object_text_matching(similarities.s_oo)
        btm = pair_weight * background_text_matching(similarities.s_bo)
        cbs = class_related_background_suppression(similarities.s_ob, class_related)
        weights = self.loss_weights
        return {
            "otm": weights.otm * self._reported_on_positive_cosines(mean_over_ranks(otm), similarities.s_oo),
            "btm": weights.btm * mean_over_ranks(btm),
            "cbs": weights.cbs * sum_over_ranks(cbs),
            "reg": weights.reg * area_regularization(activation),
        }

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        return self._class_maps(self._normalize(image)).relu()  # (B, C, h, w)

    def _reported_on_positive_cosines(self, otm: Tensor, s_oo: Tensor) -> Tensor:
        """The gradient of the mean over all pairs, with the value of the mean over those that have one."""
        pairs, _ = summed_over_ranks(torch.full((), len(s_oo), device=s_oo.device))
        positive, _ = summed_over_ranks((s_oo > 0).sum())
        self.monitor("pairs_with_negative_cosine", (pairs - positive).float())
        return otm + otm.detach() * (pairs / positive.clamp(min=1) - 1)

    def _normalize(self, image: Tensor) -> Tensor:
        return self.matcher.clip.normalize(image)

    def _class_maps(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image)[-1])[:, 1:]


class CameraReadyHead(nn.Sequential):
    """A residual bottleneck with leaky ReLU, then a 1x1 convolution to `1 + classes` maps.

    Channel 0 is unused, as published.

    Args:
        channels: Channels of the features.
        classes: Number of foreground classes.
        freeze_bn: Always use the initial BatchNorm statistics, mean 0 and variance 1.
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
        """Set the training mode; with `freeze_bn`, BatchNorm stays in evaluation mode."""
        super().train(mode)
        if self.freeze_bn:
            keep_statistics(self)
        return self
