"""AffinityNet (PSA): features whose similarity tells whether two near pixels are of the same class.

Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly Supervised
Semantic Segmentation", CVPR 2018, https://arxiv.org/abs/1803.10464; https://github.com/jiwoon-ahn/psa
(`network/resnet38_aff.py`).

Departures:

- **The backbone is the suite's ResNet at stride 8**: layers 2 to 4 (512, 1024, 2048 channels in ResNet-50)
  instead of ResNet-38's conv4 to conv6 (512, 1024, 4096), for which timm has no weights. Stem and layer1 are
  frozen, as PSA freezes its first two blocks, and BatchNorm keeps its running statistics.
- The label of an 8 x 8 cell is the most frequent label of its pixels; PSA pools the scores that labels are
  made from.
- SGD momentum 0 instead of 5e-4, which PSA's optimiser gets by a misplaced argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.normalize import ImageNetNormalize
from wsss_bench.nn.resnet import ResNetStages
from wsss_bench.refine.walk.affinity_pairs import feature_affinity
from wsss_bench.refine.walk.losses import affinity_loss, pair_labels
from wsss_bench.types import MaskBatch

STRIDE = 8


class AffinityNet(Method):
    """Affinity features from the last three stages of a ResNet.

    Args:
        class_names: Foreground classes, in label order; the outputs do not depend on them.
        optim: Optimiser; the new layers have `head_lr_scale` times its learning rate.
        backbone: timm ResNet name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None.
        frozen_stages: Number of frozen stages, counted from the stem.
        width: Channels that the first of the three stages is reduced to; the others get 2 and 4 times as
            many.
        radius: The pixels of a pair are nearer to each other than this, in pixels at stride 8.
        head_lr_scale: Learning rate of the new layers divided by that of the backbone.
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
        features = self.affinity_features(batch.image).float()
        labels = majority_labels(batch.mask)
        if labels.shape[1:] != features.shape[2:]:
            raise ValueError(
                f"crops of {batch.mask.shape[1]} x {batch.mask.shape[2]} pixels do not divide into cells of "
                f"{STRIDE} x {STRIDE}; set data.transform.crop_size to a multiple of {STRIDE}"
            )
        loss = affinity_loss(feature_affinity(features, self.radius), pair_labels(labels, self.radius))
        return {
            "background": loss.background / 4,
            "foreground": loss.foreground / 4,
            "negative": loss.negative / 2,
        }

    def affinity_features(self, image: Tensor, padding: tuple[int, ...] = ()) -> Tensor:
        """Features whose distances give the affinities (`affinity_pairs.feature_affinity`).

        Args:
            image: `(B, 3, H, W)` RGB in [0, 1].
            padding: Zero padding of the normalised image, in the format of `torch.nn.functional.pad`.

        Returns:
            `(B, 7 * width, ceil(H / 8), ceil(W / 8))` of the padded image.
        """
        return self.fuse_stages(self.backbone(F.pad(self.normalize(image), padding))[2:])

    def fuse_stages(self, features: Sequence[Tensor]) -> Tensor:
        """Three stages `(B, channels, h, w)` of the same size -> affinity features `(B, 7 * width, h, w)`."""
        reduced = [F.elu(lateral(feature)) for lateral, feature in zip(self.laterals, features, strict=True)]
        return F.elu(self.merge(torch.cat(reduced, dim=1)))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.backbone.parameters())},
            {
                "params": [*self.laterals.parameters(), *self.merge.parameters()],
                "lr_scale": self.head_lr_scale,
            },
        ]


def majority_labels(mask: Tensor) -> Tensor:
    """The most frequent label of each 8 x 8 cell; 255 counts as a label, and ties go to the lowest label.

    Args:
        mask: `(B, H, W)` masks in {0..C, 255}.

    Returns:
        `(B, H // 8, W // 8)` masks.
    """
    return mask.unfold(1, STRIDE, STRIDE).unfold(2, STRIDE, STRIDE).flatten(3).mode(dim=-1).values
