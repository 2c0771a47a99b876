"""PAMR: pixel-adaptive mask refinement, which smooths masks within regions of similar colour; no parameters.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
https://arxiv.org/abs/2005.08104, section 3.3, as in TCL and CoDe (https://github.com/khanrc/tcl): the
standard deviation is taken over the neighbours of all dilations together. The weights depend on the image
only and are computed once. An iteration replaces every pixel by the weighted mean of its neighbours (without
the pixel itself).

Memory: 4 N bytes per pixel for the weights of N neighbours (48 by default: 36 MB for 500 x 375), and four
copies of the masks. Neighbours are shifted views of the padded map, one at a time: stacking them would take N
copies of the masks and is slower on CPUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

DILATIONS = (1, 2, 4, 8, 12, 24)
"""Dilations of the 3x3 neighbourhood, in pixels."""


def pamr(image: Tensor, masks: Tensor, iterations: int = 10, dilations: Sequence[int] = DILATIONS) -> Tensor:
    """Refine soft masks.

    Args:
        image: `(B, 3, H, W)`; only colour differences relative to the local standard deviation matter, so
            that any per-channel normalisation gives the same result.
        masks: `(B, K, h, w)`, resized to the size of the image first (bilinear, aligned corners).
        iterations: Number of iterations.
        dilations: Dilations of the 3x3 neighbourhood, in pixels.

    Returns:
        `(B, K, H, W)`, in the value range of the masks.
    """
    weights = pamr_weights(image, dilations)  # (B, 8 * len(dilations), H, W)
    masks = F.interpolate(masks, image.shape[-2:], mode="bilinear", align_corners=True)
    for _ in range(iterations):
        refined = torch.zeros_like(masks)
        for weight, neighbour in zip(weights.unbind(dim=1), neighbours(masks, dilations), strict=True):
            refined.addcmul_(neighbour, weight[:, None])
        masks = refined
    return masks


def pamr_weights(image: Tensor, dilations: Sequence[int] = DILATIONS) -> Tensor:
    r"""Weight of each neighbour j in pixel i.

    .. math:: w_{ij} = \operatorname{softmax}_j(-\overline{|x_i - x_j| / 0.1 \sigma_i})

    The bar is the mean over colour channels, and sigma the unbiased standard deviation of a channel over the
    3x3 windows of all dilations.

    Args:
        image: `(B, 3, H, W)`.
        dilations: Dilations of the 3x3 neighbourhood, in pixels.

    Returns:
        `(B, 8 * len(dilations), H, W)`, ordered by dilation; sums to 1 over neighbours.
    """
    scale = 1e-8 + 0.1 * local_deviation(image, dilations)
    distances = [
        ((image - neighbour).abs() / scale).mean(dim=1) for neighbour in neighbours(image, dilations)
    ]
    return torch.stack(distances, dim=1).neg_().softmax(dim=1)


def local_deviation(image: Tensor, dilations: Sequence[int] = DILATIONS) -> Tensor:
    """Unbiased standard deviation of `(B, 3, H, W)` over the 3x3 windows of all dilations together."""
    centres = len(dilations)  # the pixel itself belongs to each of the windows
    count = 9 * centres
    mean = (sum(neighbours(image, dilations)) + centres * image) / count
    squares = sum((neighbour - mean).square() for neighbour in neighbours(image, dilations))
    return ((squares + centres * (image - mean).square()) / (count - 1)).sqrt()


def neighbours(maps: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """The eight neighbours of each dilation as views of `maps` `(B, K, H, W)`, with replicate padding.

    By dilation, and in each from the top left to the bottom right.
    """
    height, width = maps.shape[-2:]
    reach = max(dilations)
    padded = F.pad(maps, (reach,) * 4, mode="replicate")
    for dilation in dilations:
        for row in (-dilation, 0, dilation):
            for column in (-dilation, 0, dilation):
                if row or column:
                    top, left = reach + row, reach + column
                    yield padded[..., top : top + height, left : left + width]
