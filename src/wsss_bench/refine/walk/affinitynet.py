"""AffinityNet: features whose distance says whether two near pixels show the same class.

Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly Supervised Semantic
Segmentation", CVPR 2018 (PSA), https://arxiv.org/abs/1803.10464; https://github.com/jiwoon-ahn/psa
(`network/resnet38_aff.py`).

Departures: **the backbone is the suite's ResNet at stride 8**, layers 2 to 4 (512, 1024, 2048 channels in ResNet-50) in
place of ResNet-38's conv4 to conv6 (512, 1024, 4096), for which timm has no weights; stem and layer1 are frozen, as PSA
freezes its first two blocks, and its BatchNorms keep their statistics. The labels of an 8 x 8 cell are those of its
majority, where PSA pools the scores that the labels come from. SGD momentum 0 for the 5e-4 that PSA's optimiser gets by a
misplaced argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.resnet import ImageNetNormalize, ResNetStages
from wsss_bench.refine.walk.losses import affinity_loss, pair_labels
from wsss_bench.refine.walk.pairs import feature_affinity
from wsss_bench.types import MaskBatch

STRIDE = 8


class AffinityNet(Method):
    """ResNet with an embedding of its last three stages.

    Args:
        class_names: Foreground classes, in label order; the network does not know them.
        optim: Optimiser; the embedding runs at `head_lr_scale` times its learning rate.
        backbone: timm ResNet name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None.
        frozen_stages: Stages without gradient, from the stem on.
        width: Channels of the embedding of the first of the three stages; 2 and 4 times as many of the others.
        radius: Pairs of pixels are nearer than this, in pixels at stride 8.
        head_lr_scale: Learning rate of the embedding over that of the backbone.
    """

    supervision = "image"
    batch_type = MaskBatch

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(weight_decay=5e-4),
        backbone: str = "resnet50.tv_in1k",
        weights: str | None = "imagenet",
        frozen_stages: int = 2,
        width: int = 64,
        radius: int = 5,
        head_lr_scale: float = 10.0,
    ) -> None:
        super().__init__(class_names, optim)
        self.normalize = ImageNetNormalize()
        self.backbone = ResNetStages(backbone, weights, STRIDE, frozen_stages, freeze_bn=True)
        widths = (width, 2 * width, 4 * width)
        self.laterals = nn.ModuleList(
            [
                nn.Conv2d(inputs, outputs, 1, bias=False)
                for inputs, outputs in zip(self.backbone.stage_channels[2:], widths, strict=True)
            ]
        )
        self.merge = nn.Conv2d(sum(widths), sum(widths), 1, bias=False)
        self.radius = radius
        self.head_lr_scale = head_lr_scale

    def training_loss(self, batch: MaskBatch) -> dict[str, Tensor]:
        features = self.embed(batch.image).float()
        labels = majority(batch.mask)
        if labels.shape[1:] != features.shape[2:]:
            raise ValueError(
                f"crops of {batch.mask.shape[1]} x {batch.mask.shape[2]} pixels do not divide into cells of {STRIDE} x "
                f"{STRIDE}; set data.transform.crop_size to a multiple of {STRIDE}"
            )
        loss = affinity_loss(feature_affinity(features, self.radius), pair_labels(labels, self.radius))
        return {
            "background": loss.background / 4,
            "foreground": loss.foreground / 4,
            "negative": loss.negative / 2,
        }

    def embed(self, image: Tensor, padding: tuple[int, ...] = ()) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> `(B, 7 * width, ceil(H / 8), ceil(W / 8))`.

        Args:
            image: RGB.
            padding: Zeros around the normalised image, as `torch.nn.functional.pad` takes them.
        """
        return self.join(self.backbone(F.pad(self.normalize(image), padding))[2:])

    def join(self, features: Sequence[Tensor]) -> Tensor:
        """Three stages of one size -> their embedding."""
        joined = [F.elu(lateral(feature)) for lateral, feature in zip(self.laterals, features, strict=True)]
        return F.elu(self.merge(torch.cat(joined, dim=1)))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.backbone.parameters())},
            {
                "params": [*self.laterals.parameters(), *self.merge.parameters()],
                "lr_scale": self.head_lr_scale,
            },
        ]


def majority(mask: Tensor) -> Tensor:
    """`(B, H, W)` -> `(B, H // 8, W // 8)`: the most frequent label of each cell, 255 included, the lowest of equal ones."""
    return mask.unfold(1, STRIDE, STRIDE).unfold(2, STRIDE, STRIDE).flatten(3).mode(dim=-1).values
