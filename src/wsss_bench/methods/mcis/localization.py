"""From the maps that an image gets beside other images to one map per class.

Sun et al., "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation" (MCIS), ECCV 2020, section 3.3;
https://github.com/GuoleiSun/MCIS_wsss (`scripts/test.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.types import Reference


def squash(image: Tensor, side: int) -> Tensor:
    """`(B, 3, H, W)` -> `(B, 3, side, side)`, bilinear with antialiasing, which is PIL's up to the rounding of bytes."""
    if image.shape[-2:] == (side, side):
        return image
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True, align_corners=False)


def resize_maps(maps: Tensor, size: Sequence[int]) -> Tensor:
    """`(B, K, h, w)` -> `(B, K, *size)`, bicubic without antialiasing."""
    return F.interpolate(maps, tuple(size), mode="bicubic", align_corners=False)


def fuse_maps(maps: Tensor, present: float = 0.1) -> Tensor:
    """Mean of the positive parts of several maps, each divided by its own peak.

    The spatial mean of a map is the logit of its class: where its sigmoid is not above `present`, the map is left out of the
    sum but still counted. The first map is never left out.

    Args:
        maps: `(M, B, K, h, w)` raw maps, the M kinds in their order.
        present: Probability in [0, 1].

    Returns:
        `(B, K, h, w)` in [0, 1].
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))  # 8 bits of bfloat16 are too few to add in
    shown = maps.mean(dim=(3, 4), keepdim=True).sigmoid() > present
    shown[0] = True
    positive = maps.relu()
    return (shown * positive / (positive.amax(dim=(3, 4), keepdim=True) + 1e-8)).mean(dim=0)


def related_maps(
    common_maps: Callable[[Tensor], Tensor], references: Sequence[Reference], side: int, like: Tensor
) -> Tensor:
    """Mean map of each class over the references that were drawn for it; zeros for a class without any.

    Args:
        common_maps: `(R, 3, side, side)` references -> `(B, R, K, h, w)` maps of B images beside each of them.
        references: At least one; an image that was drawn several times is computed once.
        side: Side of the square that references are squashed to.
        like: A tensor of the wanted device and precision.

    Returns:
        `(B, K, h, w)`.
    """
    images = {reference.image_id: reference.image for reference in references}
    squares = [
        squash(torch.from_numpy(image.transpose(2, 0, 1)).to(like)[None] / 255, side)
        for image in images.values()
    ]
    maps = common_maps(torch.cat(squares))
    weights = maps.new_zeros(maps.shape[1:3])  # (R, K) how often each was drawn for each class
    order = list(images)
    for reference in references:
        weights[order.index(reference.image_id), reference.for_class] += 1
    return torch.einsum("brkhw,rk->bkhw", maps, weights / weights.sum(dim=0).clamp(min=1))
