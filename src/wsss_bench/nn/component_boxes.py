"""Bounding boxes of the connected regions of activation maps, found on the device of the maps.

Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023, https://arxiv.org/abs/2212.09506,
section 3.4; the boxes are those of https://github.com/linyq2117/CLIP-ES, `utils.py`. ExCEL and WeCLIP use the
same. Maps are small (patch grids), but a method needs the boxes in every training step, where a copy to the
CPU would make a GPU wait.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def box_masks(maps: Tensor, threshold: float) -> Tensor:
    """Union of the bounding boxes of all 8-connected regions above a threshold.

    A map counts as `trunc(255 m)`, and a place is above the threshold where this exceeds `trunc(threshold *
    maximum)`. A box ends one place before the last row and the last column of the map, as in the official
    code: a region there has a box without them.

    Args:
        maps: `(..., h, w)` in [0, 1].
        threshold: As a share of the maximum of each map.

    Returns:
        `(..., h, w)` bool; all False for a map of zeros.
    """
    levels = (maps.reshape(-1, *maps.shape[-2:]) * 255).to(torch.uint8)  # (M, h, w)
    peaks = levels.amax(dim=(1, 2), keepdim=True)
    mask = levels > (threshold * peaks.double()).to(torch.uint8)
    return _filled(*_boxes(mask)).view(maps.shape)


def component_roots(mask: Tensor) -> Tensor:
    """The 8-connected components of masks, without a host sync.

    Every place points to a place of its component; each round lets it point to the lowest place that its
    neighbours point to, moves what is pointed to along (hooking), and follows one pointer more (shortcutting;
    Zhang et al., "FastSV", SIAM PP 2020). Paths halve in a round, so that their number is logarithmic.

    Args:
        mask: `(M, h, w)` bool, less than 2^24 places each.

    Returns:
        `(M, h * w)` int64: the lowest index of the component of each place; outside of the mask its own.
    """
    count, height, width = mask.shape
    places = torch.arange(height * width, device=mask.device).expand(count, -1)
    inside = mask.flatten(1)
    pointers = places.clone()
    for _ in range(rounds(height * width)):
        # outside of the mask lies a number above all others; max_pool2d of negatives is the minimum
        shown = pointers.where(inside, height * width).view(count, 1, height, width)
        lowest = -F.max_pool2d(-shown.float(), 3, stride=1, padding=1).flatten(1).long()
        lowest = lowest.where(inside, places)
        pointers = pointers.scatter_reduce(1, pointers, lowest, "amin")
        pointers = torch.minimum(pointers, lowest)
        pointers = pointers.gather(1, pointers)
    return pointers


def rounds(places: int) -> int:
    """Rounds of `component_roots` for maps of so many places; spirals need the most."""
    return places.bit_length() + 2


def _boxes(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Corners of the box of each component, at its root.

    Args:
        mask: `(M, h, w)` bool.

    Returns:
        `(M, 4, h * w)` int64 top, left, bottom and right, the last two exclusive and cut as in `box_masks`;
        and `(M, h, w)` bool, where the roots are.
    """
    count, height, width = mask.shape
    roots = component_roots(mask)
    places = torch.arange(height * width, device=mask.device).expand(count, -1)
    row, column = places // width, places % width
    top, left = (
        torch.full_like(places, height * width).scatter_reduce(1, roots, at, "amin") for at in (row, column)
    )
    bottom, right = (torch.zeros_like(places).scatter_reduce(1, roots, at, "amax") for at in (row, column))
    bottom, right = (bottom + 1).clamp(max=height - 1), (right + 1).clamp(max=width - 1)
    is_root = (roots == places).view(mask.shape) & mask
    return torch.stack([top, left, bottom, right], dim=1), is_root


def _filled(boxes: Tensor, is_root: Tensor) -> Tensor:
    """Union of the boxes of `_boxes`: `(M, h, w)` bool."""
    count, height, width = is_root.shape
    one = is_root.flatten(1).int()
    top, left, bottom, right = boxes.unbind(dim=1)
    # a box is +1 and -1 at its corners; sums along both sides then count the boxes over each place
    corners = torch.zeros(count, height * width, dtype=torch.int32, device=is_root.device)
    for row, column, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        corners.scatter_add_(1, (row * width + column).clamp(max=height * width - 1), sign * one)
    return corners.view(is_root.shape).cumsum(dim=1).cumsum(dim=2) > 0
