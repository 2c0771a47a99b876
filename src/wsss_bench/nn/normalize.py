"""Normalisation of images by the mean and standard deviation that a network was pretrained with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsss_bench.types import IMAGENET_MEAN, IMAGENET_STD


class Normalize(nn.Module):
    """`(B, 3, H, W)` in [0, 1] -> normalised.

    Args:
        mean: Of each channel.
        std: Standard deviation of each channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> the same, normalised."""
        return (image - self.mean) / self.std


class ImageNetNormalize(Normalize):
    """Normalisation with ImageNet's mean and standard deviation."""

    def __init__(self) -> None:
        super().__init__(IMAGENET_MEAN, IMAGENET_STD)
