"""Supervised: the same kind of network trained on true masks. The ceiling of the table, marked as such.

Backbone and decoder are plain (ResNet stages, Semantic FPN, Kirillov et al., CVPR 2019), so that the row says what full
supervision gives to a network of the size that the weak methods use, and not what the best segmenter of the day reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.resnet import ImageNetNormalize, ResNetStages
from wsss_bench.types import IGNORE, MaskBatch


class Supervised(Method):
    """ResNet with a Semantic FPN decoder under pixel-wise cross-entropy.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser; the decoder runs at `decoder_lr_scale` times its learning rate.
        backbone: timm ResNet name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None.
        output_stride: Stride of the last stage.
        freeze_bn: Running statistics of the pretraining in the backbone, as in DeepLab; the decoder has GroupNorm.
        width: Channels of the decoder.
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
        self.normalize = ImageNetNormalize()
        self.backbone = ResNetStages(backbone, weights, output_stride, freeze_bn=freeze_bn)
        self.decoder = SemanticFPN(self.backbone.stage_channels, len(self.class_names) + 1, width)
        self.decoder_lr_scale = decoder_lr_scale

    def training_loss(self, batch: MaskBatch) -> dict[str, Tensor]:
        logits = self.segmentation_logits(batch.image)
        logits = F.interpolate(logits, batch.mask.shape[1:], mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, batch.mask, ignore_index=IGNORE, reduction="none").sum(dim=(1, 2))
        # mean over the pixels of an image, then over images: the same however a batch is split over ranks, and 0 instead of
        # NaN for an image of nothing but 255
        valid = (batch.mask != IGNORE).sum(dim=(1, 2)).clamp(min=1)
        return {"cross_entropy": (loss / valid).mean()}

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self.decoder(self.backbone(self.normalize(image)))  # (B, 1 + C, h, w)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.backbone.parameters())},
            {"params": list(self.decoder.parameters()), "lr_scale": self.decoder_lr_scale},
        ]


class SemanticFPN(nn.Module):
    """Lateral 1x1 convolutions, sum at the finest stage, two 3x3 convolutions, classifier.

    Args:
        channels: Channels of the stages, finest first.
        num_outputs: Channels of the output.
        width: Channels inside; a multiple of 8 (GroupNorm).
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
        """Stages, finest first -> `(B, num_outputs, h, w)` at the size of the finest."""
        size = features[0].shape[-2:]
        maps = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        enlarged = [
            F.interpolate(m, size, mode="bilinear", align_corners=False) if m.shape[-2:] != size else m
            for m in maps
        ]
        return self.classifier(self.smooth(sum(enlarged)))
