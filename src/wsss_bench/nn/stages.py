"""What all backbones have in common: features at several strides, and BatchNorm that may stay fixed."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # SyncBatchNorm, too

from wsss_bench.nn.normalize import Normalize

Self = TypeVar("Self", bound="Stages")


def keep_statistics(network: nn.Module) -> None:
    """Put every BatchNorm of a network into evaluation mode, in which it uses its running statistics."""
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.eval()


class Stages(nn.Module):
    """Base of backbones: `(B, 3, H, W)`, normalised -> a list of features, the finest first.

    Features of stride s have `ceil(H / s)` rows and `ceil(W / s)` columns.

    Args:
        freeze_bn: BatchNorm always uses its running statistics.

    Attributes:
        stage_channels: Channels of each stage.
        stage_strides: Stride of each stage.
        channels: Channels of the last stage.
        normalize: The normalisation of images that the network was pretrained with.
    """

    stage_channels: list[int]
    stage_strides: list[int]
    channels: int
    normalize: Normalize

    def __init__(self, freeze_bn: bool) -> None:
        super().__init__()
        self.freeze_bn = freeze_bn

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode; with `freeze_bn`, BatchNorm stays in evaluation mode."""
        super().train(mode)
        if self.freeze_bn:
            keep_statistics(self)
        return self
