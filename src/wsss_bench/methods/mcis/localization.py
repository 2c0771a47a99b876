"""Fusion of the class maps of one image, computed with several partners, into one map per class.

Sun et al., "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation" (MCIS), ECCV 2020,
section 3.3; https://github.com/GuoleiSun/MCIS_wsss (`scripts/test.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.transfer import to_device
from wsss_bench.types import Reference


def resize_to_square(image: Tensor, side: int) -> Tensor:
    """`(B, 3, H, W)` -> `(B, 3, side, side)`, without keeping the aspect ratio.

    Bilinear with antialiasing, which equals PIL's bilinear filter up to rounding to bytes.
    """
    if image.shape[-2:] == (side, side):
        return image
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True, align_corners=False)


def resize_maps(maps: Tensor, size: Sequence[int]) -> Tensor:
    """`(B, K, h, w)` -> `(B, K, *size)`, bicubic without antialiasing."""
    return F.interpolate(maps, tuple(size), mode="bicubic", align_corners=False)


def fuse_maps(maps: Tensor, min_probability: float = 0.1) -> Tensor:
    """Mean of the positive parts of several maps, each divided by its own maximum.

    The spatial mean of a map is the logit of its class. Where the sigmoid of the logit is not above
    `min_probability`, the map is replaced by zeros; it still counts in the mean. The first map is always
    used.

    Args:
        maps: `(M, B, K, h, w)` raw maps of M partners.
        min_probability: Class probability in [0, 1].

    Returns:
        `(B, K, h, w)` in [0, 1].
    """
    # bfloat16 is too coarse for sums
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    used = maps.mean(dim=(3, 4), keepdim=True).sigmoid() > min_probability
    used[0] = True
    positive = maps.relu()
    return (used * positive / (positive.amax(dim=(3, 4), keepdim=True) + 1e-8)).mean(dim=0)


def mean_reference_maps(
    maps_with: Callable[[Tensor], Tensor], features: Mapping[str, Tensor], references: Sequence[Reference]
) -> Tensor:
    """Mean map of each class over the reference images drawn for this class.

    A class without references has zeros.

    Args:
        maps_with: `(R, C, h, w)` features of references -> `(B, R, K, h, w)` class maps of B images, each
            paired with each reference.
        features: `(C, h, w)` of each different reference, by image id.
        references: At least one; an image that was drawn several times is listed several times.

    Returns:
        `(B, K, h, w)`.
    """
    maps = maps_with(torch.stack([*features.values()]))
    # how often each reference was drawn for each class
    weights = torch.zeros(maps.shape[1:3], dtype=maps.dtype)  # (R, K)
    order = list(features)
    for reference in references:
        weights[order.index(reference.image_id), reference.for_class] += 1
    weights /= weights.sum(dim=0).clamp(min=1)
    return torch.einsum("brkhw,rk->bkhw", maps, to_device(weights, maps.device))
