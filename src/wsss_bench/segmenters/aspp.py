"""The head of DeepLabV2 and its view of an image at several scales.

Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected
CRFs", TPAMI 2018, https://arxiv.org/abs/1606.00915, in the PyTorch form of
https://github.com/kazuto1011/deeplab-pytorch, which the WSSS literature trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: parallel dilated 3x3 convolutions straight to the classes, summed.

    Args:
        channels: Channels of the features.
        num_outputs: Channels of the output.
        rates: Dilation of each branch, in pixels of the features.
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
    """Logits of an image at scale 1 and at each of `scales`, and their maximum at the size of the first, in this order.

    Args:
        network: `(B, 3, H, W)` -> `(B, K, h, w)`.
        image: `(B, 3, H, W)`, normalised.
        scales: Further scales; without any, the result is the logits at scale 1 alone.
    """
    logits = [network(image)]  # (B, K, h, w)
    if not scales:
        return logits
    logits += [
        network(F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False))
        for scale in scales
    ]
    size = logits[0].shape[-2:]
    enlarged = [F.interpolate(small, size, mode="bilinear", align_corners=False) for small in logits[1:]]
    return [*logits, torch.stack([logits[0], *enlarged]).amax(dim=0)]
