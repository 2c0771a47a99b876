"""Semantic FPN: a light decoder that joins the stages of a backbone at stride 4.

Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019, https://arxiv.org/abs/1901.02446, section 3.1. Here the
top-down path is a plain sum of enlarged lateral maps followed by two 3x3 convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


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
