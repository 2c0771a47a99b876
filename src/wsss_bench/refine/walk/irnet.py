"""IRNet: class boundary map and displacement field, learned from the confident pixels of seeds.

Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR
2019, https://arxiv.org/abs/1904.05044; https://github.com/jiwoon-ahn/irn (`step/train_irn.py`).

The affinity labels tell for pairs of near pixels whether they are of the same class. The affinity of a pair
is 1 - the highest boundary probability on the path between its pixels, so that boundaries are learned without
boundary labels. The displacement field is learned from foreground and background pairs. The backbone keeps
its ImageNet weights.

Departure: SGD momentum 0 instead of 1e-4, which IRN's optimiser gets by a misplaced argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.backbone import build_backbone
from wsss_bench.refine.walk.affinity_pairs import boundary_affinity
from wsss_bench.refine.walk.irnet_branches import BoundaryBranch, DisplacementBranch
from wsss_bench.refine.walk.losses import affinity_loss, displacement_loss, pair_labels
from wsss_bench.types import MaskBatch


class IRNet(Method):
    """Boundary branch and displacement branch on a frozen ResNet.

    Args:
        class_names: Foreground classes, in label order; the outputs do not depend on them.
        optim: Optimiser; the displacement branch has `displacement_lr_scale` times its learning rate.
        backbone: timm name of a ResNet or of another network (`nn/backbone.py`), or a recipe file.
        weights: `imagenet`, a checkpoint path, or None.
        output_stride: Stride of the last stage.
        width: Channels of the boundary branch; those of the displacement branch are proportional to it.
        radius: The pixels of a pair are nearer to each other than this, in pixels at stride 4.
        displacement_lr_scale: Learning rate of the displacement branch divided by that of the boundary
            branch.
    """

    supervision = "image"
    batch_type = MaskBatch

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(),
        backbone: str = "resnet50.tv_in1k",
        weights: str | None = "imagenet",
        output_stride: int = 16,
        width: int = 32,
        radius: int = 10,
        displacement_lr_scale: float = 10.0,
    ) -> None:
        super().__init__(class_names, optim)
        self.backbone = build_backbone(backbone, weights, output_stride, frozen_stages=5, freeze_bn=True)
        self.normalize = self.backbone.normalize
        channels, strides = self.backbone.stage_channels, self.backbone.stage_strides
        self.boundary = BoundaryBranch(channels, strides, width)
        self.displacement = DisplacementBranch(channels, strides, width)
        self.radius = radius
        self.displacement_lr_scale = displacement_lr_scale

    def training_loss(self, batch: MaskBatch) -> dict[str, Tensor]:
        features = self._features(batch.image)
        boundary_map = self.boundary(features).float().sigmoid()  # (B, h, w)
        pairs = pair_labels(labels_at_stride_4(batch.mask, boundary_map), self.radius)
        affinity = affinity_loss(boundary_affinity(boundary_map, self.radius), pairs)
        foreground, background = displacement_loss(self.displacement(features).float(), pairs, self.radius)
        return {
            "positive": (affinity.background + affinity.foreground) / 4,
            "negative": affinity.negative / 2,
            "foreground_displacement": foreground / 2,
            "background_displacement": background / 2,
        }

    def boundary_logits(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> `(B, ceil(H / 4), ceil(W / 4))` logits of a class boundary."""
        return self.boundary(self._features(image))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.boundary.parameters())},
            {"params": list(self.displacement.parameters()), "lr_scale": self.displacement_lr_scale},
        ]

    def _features(self, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.backbone(self.normalize(image))
        return features


def labels_at_stride_4(mask: Tensor, boundary_map: Tensor) -> Tensor:
    """Reduce masks to stride 4 by nearest neighbour, as PIL does: rows and columns 2, 6, 10, ...

    Args:
        mask: `(B, H, W)` masks in {0..C, 255}.
        boundary_map: `(B, h, w)`, the map that the reduced masks are compared with.

    Returns:
        `(B, h, w)` masks.

    Raises:
        ValueError: the sizes differ, because H or W is no multiple of 4.
    """
    reduced = mask[:, 2::4, 2::4]
    if reduced.shape != boundary_map.shape:
        raise ValueError(
            f"crops of {mask.shape[1]} x {mask.shape[2]} pixels give labels of {tuple(reduced.shape[1:])} "
            f"and a boundary map of {tuple(boundary_map.shape[1:])}; "
            "set data.transform.crop_size to a multiple of 4"
        )
    return reduced
