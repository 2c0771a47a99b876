"""IRNet: class-blind boundaries and displacements, learnt from the sure pixels of class activation maps.

Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019,
https://arxiv.org/abs/1904.05044; https://github.com/jiwoon-ahn/irn (`step/train_irn.py`).

Pseudo masks say of near pixels whether they belong together. A pair belongs together unless a boundary lies between its
ends, so that the boundaries are learnt without ever being shown; displacements are learnt from the pairs inside objects.
The backbone keeps its ImageNet weights.

Departure: SGD momentum 0 for the 1e-4 that IRN's optimiser gets by a misplaced argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.resnet import ImageNetNormalize, ResNetStages
from wsss_bench.refine.walk.heads import BoundaryHead, DisplacementHead, stage_strides
from wsss_bench.refine.walk.losses import affinity_loss, displacement_loss, pair_labels
from wsss_bench.refine.walk.pairs import edge_to_affinity
from wsss_bench.types import MaskBatch


class IRNet(Method):
    """Two heads on a frozen ResNet.

    Args:
        class_names: Foreground classes, in label order; the network does not know them.
        optim: Optimiser; the displacement head runs at `displacement_lr_scale` times its learning rate.
        backbone: timm ResNet name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None.
        output_stride: Stride of the last stage.
        width: Channels of the boundary head; those of the displacement head grow with it.
        radius: Pairs of pixels are nearer than this, in pixels at stride 4.
        displacement_lr_scale: Learning rate of the displacement head over that of the boundary head.
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
        self.normalize = ImageNetNormalize()
        self.backbone = ResNetStages(backbone, weights, output_stride, frozen_stages=5, freeze_bn=True)
        strides = stage_strides(output_stride)
        self.boundary = BoundaryHead(self.backbone.stage_channels, strides, width)
        self.displacement = DisplacementHead(self.backbone.stage_channels, strides, width)
        self.radius = radius
        self.displacement_lr_scale = displacement_lr_scale

    def training_loss(self, batch: MaskBatch) -> dict[str, Tensor]:
        features = self.backbone(self.normalize(batch.image))
        edge = self.boundary(features).float().sigmoid()  # (B, h, w)
        pairs = pair_labels(reduced_by_four(batch.mask, edge), self.radius)
        affinity = affinity_loss(edge_to_affinity(edge, self.radius), pairs)
        foreground, background = displacement_loss(self.displacement(features).float(), pairs, self.radius)
        return {
            "positive": (affinity.background + affinity.foreground) / 4,
            "negative": affinity.negative / 2,
            "foreground_displacement": foreground / 2,
            "background_displacement": background / 2,
        }

    def boundary_logits(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> `(B, ceil(H / 4), ceil(W / 4))` logits of a class boundary."""
        return self.boundary(self.backbone(self.normalize(image)))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.boundary.parameters())},
            {"params": list(self.displacement.parameters()), "lr_scale": self.displacement_lr_scale},
        ]


def reduced_by_four(mask: Tensor, edge: Tensor) -> Tensor:
    """Every fourth label, from the third on (PIL's nearest neighbour), which is what the map `edge` is compared with.

    Raises:
        ValueError: the two differ in size, since the crop is no multiple of 4.
    """
    reduced = mask[:, 2::4, 2::4]
    if reduced.shape != edge.shape:
        raise ValueError(
            f"crops of {mask.shape[1]} x {mask.shape[2]} pixels give labels of {tuple(reduced.shape[1:])} and boundaries of "
            f"{tuple(edge.shape[1:])}; set data.transform.crop_size to a multiple of 4"
        )
    return reduced
