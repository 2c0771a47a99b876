"""CAM: class activation maps of a multi-label image classifier.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016,
https://arxiv.org/abs/1512.04150, trained as in IRN (Ahn et al., CVPR 2019,
https://github.com/jiwoon-ahn/irn).

The baseline of the benchmark and the warm start of CLIMS. A 1x1 convolution turns the features of a ResNet
into one map per class; the spatial mean of a map is the class logit. At inference the positive part of the
maps is the seed.

Departures from IRN: SGD momentum is 0; IRN's optimiser gets 1e-4 by a misplaced argument. The convolution
comes before the spatial mean, which gives the same logits. The weights are torchvision's first ResNet-50, as
in IRN, from timm's copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from wsss_bench.losses.classification import multilabel_soft_margin
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.backbone import build_backbone
from wsss_bench.placement import CroppedGrid
from wsss_bench.types import ImageBatch


class CAM(Method):
    """Image classifier with a class map before the global average pooling.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser; its learning rate is the backbone's.
        backbone: timm name of a ResNet, or of another network with features at four strides
            (`nn/backbone.py`), or a recipe file.
        weights: `imagenet`, a checkpoint path, or None for random weights.
        output_stride: Stride of the class maps; a ResNet loses strides without dilation, others with it.
        frozen_stages: Number of stages without gradient: 3 in IRN (stem, layer1, layer2), 1 in CLIMS' copy
            (stem).
        freeze_bn: BatchNorm uses its pretrained running statistics in training too, as in IRN.
        head_lr_scale: Learning rate of the classifier over that of the backbone.
    """

    supervision = "image"
    batch_type = ImageBatch

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(),
        backbone: str = "resnet50.tv_in1k",
        weights: str | None = "imagenet",
        output_stride: int = 16,
        frozen_stages: int = 3,
        freeze_bn: bool = True,
        head_lr_scale: float = 10.0,
    ) -> None:
        super().__init__(class_names, optim)
        self.backbone = build_backbone(backbone, weights, output_stride, frozen_stages, freeze_bn)
        self.normalize = self.backbone.normalize
        self.head = nn.Conv2d(self.backbone.channels, len(self.class_names), 1, bias=False)
        self.head_lr_scale = head_lr_scale
        self.seed_placement = CroppedGrid(output_stride)  # seeds are drawn as those of IRN

    def training_loss(self, batch: ImageBatch) -> dict[str, Tensor]:
        return {"classification": multilabel_soft_margin(self.class_logits(batch.image), batch.labels)}

    def class_logits(self, image: Tensor) -> Tensor:
        return self._class_maps(image).mean(dim=(2, 3))  # (B, C)

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
