"""ASPP, the head of DeepLabV2, and its multi-scale inputs (MSC).

Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
Connected CRFs", TPAMI 2018, https://arxiv.org/abs/1606.00915, in the PyTorch form of
https://github.com/kazuto1011/deeplab-pytorch, which the WSSS literature trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling of DeepLabV2: the sum of parallel atrous 3x3 convolutions to class
    logits.

    Args:
        channels: Number of feature channels.
        num_outputs: Number of output channels.
        rates: Atrous rate (dilation) of each branch, in pixels of the feature map.
    """

    def __init__(self, channels: int, num_outputs: int, rates: Sequence[int] = (6, 12, 18, 24)) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for rate in rates:
            branch = nn.Conv2d(channels, num_outputs, 3, padding=rate, dilation=rate)
            nn.init.normal_(branch.weight, std=0.01)
            nn.init.zeros_(branch.bias)  # type: ignore[arg-type]
            self.branches.append(branch)

    def forward(self, features: Tensor) -> Tensor:
        """`(B, channels, h, w)` -> `(B, num_outputs, h, w)`."""
        return torch.stack([branch(features) for branch in self.branches]).sum(dim=0)


def multi_scale_logits(
    network: Callable[[Tensor], Tensor], image: Tensor, scales: Sequence[float] = (0.5, 0.75)
) -> list[Tensor]:
    """Logits of one network for an image at several scales (MSC, multi-scale inputs).

    Args:
        network: `(B, 3, H, W)` -> `(B, K, h, w)`.
        image: `(B, 3, H, W)`, normalised.
        scales: Scales in addition to 1.

    Returns:
        The logits at scale 1, at each of `scales`, and their pixelwise maximum at the size of the first.
        Without `scales`, only the logits at scale 1.
    """
    logits = [network(image)]  # (B, K, h, w)
    if not scales:
        return logits
    logits += [
        network(F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False))
        for scale in scales
    ]
    size = logits[0].shape[-2:]
    resized = [F.interpolate(scaled, size, mode="bilinear", align_corners=False) for scaled in logits[1:]]
    return [*logits, torch.stack([logits[0], *resized]).amax(dim=0)]
