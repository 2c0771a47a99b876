"""TCL's gated decoder: upsampled CLIP features plus gated convolutions.

Cha et al., "Learning to Generate Text-grounded Mask for Open-world Semantic Segmentation from Only Image-Text
Pairs", CVPR 2023, https://arxiv.org/abs/2212.00785. The gates are zero at the start, so that training begins
exactly at the pretrained features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.nn.precision import at_least_float32


class GatedConvolution(nn.Module):
    """`x + tanh(gate) * conv(gelu(norm(x)))`: 3x3 convolution, number of channels unchanged.

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)  # over the channels of each position
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return x + self.gate.tanh() * self.conv(F.gelu(normed))


class GatedDecoder(nn.Module):
    """Two layers, each of which upsamples by two (nearest neighbour) and applies gated convolutions.

    Args:
        channels: Channels of input and output.
        double: Two gated convolutions per layer (TCL) instead of one (CoDe).
    """

    def __init__(self, channels: int, double: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(*(GatedConvolution(channels) for _ in range(1 + double))) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, h, w)` -> `(B, channels, 4h, 4w)`, at least float32 whatever convolutions run in.

        Neighbours of one patch differ only by what small gates add, which the sum in bfloat16 would lose.
        """
        x = at_least_float32(x)
        for layer in self.layers:
            x = layer(F.interpolate(x, scale_factor=2, mode="nearest"))
        return x
