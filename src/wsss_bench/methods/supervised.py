"""Supervised: a network trained on ground-truth masks. The upper bound of the table, marked as such.

Backbone and decoder are plain: ResNet, and Semantic FPN (Kirillov et al., "Panoptic Feature Pyramid
Networks", CVPR 2019, https://arxiv.org/abs/1901.02446). The row shows what full supervision gives to a
network of the size that the weakly supervised methods use, not what the best segmentation network reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.losses.segmentation import cross_entropy_per_image
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.backbone import build_backbone
from wsss_bench.types import MaskBatch


class Supervised(Method):
    """ResNet with a Semantic FPN decoder, trained with pixel-wise cross-entropy.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser; its learning rate is the backbone's.
        backbone: timm name of a network (`nn/backbone.py`), or a recipe file.
        weights: `imagenet`, a checkpoint path, or None for random weights.
        output_stride: Stride of the last stage.
        freeze_bn: BatchNorm of the backbone uses its pretrained running statistics, as in DeepLab; the
            decoder has GroupNorm.
        width: Hidden channels of the decoder, a multiple of 8 (GroupNorm).
        decoder_lr_scale: Learning rate of the decoder over that of the backbone.
    """

    supervision = "mask"
    batch_type = MaskBatch

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = OptimConfig(),
        backbone: str = "resnet50.tv_in1k",
        weights: str | None = "imagenet",
        output_stride: int = 16,
        freeze_bn: bool = True,
        width: int = 128,
        decoder_lr_scale: float = 10.0,
    ) -> None:
        super().__init__(class_names, optim)
        self.backbone = build_backbone(backbone, weights, output_stride, freeze_bn=freeze_bn)
        self.decoder = SemanticFPN(self.backbone.stage_channels, len(self.class_names) + 1, width)
        self.decoder_lr_scale = decoder_lr_scale

    def training_loss(self, batch: MaskBatch) -> dict[str, Tensor]:
        logits = self.segmentation_logits(batch.image)
        logits = self.segmentation_placement.draw(logits, batch.image.shape[-2:], batch.mask.shape[1:])
        return {"cross_entropy": cross_entropy_per_image(logits, batch.mask)}

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self.decoder(self.backbone(self.backbone.normalize(image)))  # (B, 1 + C, h, w)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.backbone.parameters())},
            {"params": list(self.decoder.parameters()), "lr_scale": self.decoder_lr_scale},
        ]


class SemanticFPN(nn.Module):
    """Semantic FPN: lateral 1x1 convolutions, sum at the finest stage, two 3x3 convolutions, classifier.

    Args:
        channels: Channels of the backbone stages, finest first.
        num_outputs: Output channels.
        width: Hidden channels, a multiple of 8 (GroupNorm).
    """

    def __init__(self, channels: Sequence[int], num_outputs: int, width: int = 128) -> None:
        super().__init__()
        self.laterals = nn.ModuleList([nn.Conv2d(channel, width, 1) for channel in channels])
        self.smooth = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(),
        )
        self.classifier = nn.Conv2d(width, num_outputs, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the stages, finest first -> `(B, num_outputs, h, w)` at the size of the finest."""
        size = features[0].shape[-2:]
        maps = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        resized = [
            F.interpolate(m, size, mode="bilinear", align_corners=False) if m.shape[-2:] != size else m
            for m in maps
        ]
        return self.classifier(self.smooth(sum(resized)))
