"""Views of an image for the class token contrast of ToCo: small crops, and a random resized crop.

Ru et al., ToCo, CVPR 2023, https://arxiv.org/abs/2303.01267, section 3.3; https://github.com/rulixiang/ToCo.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

NEGATIVE_RATIO = 0.2
"""A crop whose mean region value is at most this shows mostly background."""


def region_mask(cam: Tensor, labels: Tensor, low: float, high: float) -> Tensor:
    """`(B, C, H, W)` CAM in [0, 1] -> `(B, H, W)` int64: 0 up to `low`, 2 from `high`, 1 (uncertain) between."""
    value = (cam * labels[:, :, None, None]).amax(dim=1)
    return (value > low).long() + (value >= high).long()


class LocalCrops(NamedTuple):
    """K crops of each image."""

    image: Tensor  # (B, K, 3, s, s)
    positive: Tensor  # (B, K) bool, False where a crop shows mostly background


def local_crops(image: Tensor, region: Tensor, noise: Tensor, count: int, size: int) -> LocalCrops:
    """Crops centred where the network is uncertain or sees background.

    Args:
        image: `(B, 3, H, W)`.
        region: `(B, H, W)` of `region_mask`.
        noise: `(B, n)` uniform numbers, at least one for each place of a crop; they choose the places.
        count: Crops K of an image.
        size: Side of a crop in pixels.

    Raises:
        ValueError: crops do not fit into the image.
    """
    margin = size // 2
    places = [length - 2 * margin for length in image.shape[-2:]]
    if min(places) < 1 or places[0] * places[1] < count:
        raise ValueError(
            f"{count} local crops of {size} pixels do not fit into {image.shape[-2]}x{image.shape[-1]} pixels; lower "
            "ctc.crop_size"
        )
    centres = region[:, margin : margin + places[0], margin : margin + places[1]].flatten(1)
    candidates = centres <= 1
    candidates = candidates | (candidates.sum(dim=1, keepdim=True) < count)
    chosen = (noise[:, : centres.shape[1]] + candidates).topk(count).indices  # (B, K)
    offsets = torch.arange(size, device=image.device)
    rows = (chosen // places[1])[:, :, None, None] + offsets[:, None]  # (B, K, s, 1)
    columns = (chosen % places[1])[:, :, None, None] + offsets  # (B, K, 1, s)
    batch = torch.arange(len(image), device=image.device)[:, None, None, None]
    crops = image.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 1, 4, 2, 3)
    share = region[batch, rows, columns].float().mean(dim=(2, 3))
    return LocalCrops(crops, share > NEGATIVE_RATIO)


def resized_view(image: Tensor, noise: Tensor, smallest: float = 0.4) -> Tensor:
    """Random resized crops of `(B, 3, H, W)` at the same size, half of them mirrored.

    Args:
        image: The images.
        noise: `(B, 5)` uniform numbers: area, ratio, row, column, mirror.
        smallest: Smallest share of the area; sides have a ratio of 3/4 to 4/3.
    """
    area, ratio, row, column, mirror = noise.unbind(dim=1)
    ratio = torch.exp((2 * ratio - 1) * math.log(4 / 3)).sqrt()
    side = (smallest + (1 - smallest) * area).sqrt()
    height, width = (side / ratio).clamp(max=1), (side * ratio).clamp(max=1)  # shares of the image
    theta = image.new_zeros(len(image), 2, 3)
    theta[:, 0, 0] = torch.where(mirror < 0.5, -width, width)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (2 * column - 1) * (1 - width)
    theta[:, 1, 2] = (2 * row - 1) * (1 - height)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)
