"""Online pseudo labels: from the network's own CAMs to masks with a band of uncertain pixels.

Ru et al., AFA (CVPR 2022) and ToCo (CVPR 2023, https://github.com/rulixiang/ToCo), `utils/camutils.py`; also SeCo, DuPL,
MoRe.

All of it without gradient. Departure: where an image is padding, the labels follow the map `valid` of the batch; ToCo keeps a
box, mirrors the image after it has noted the box, and applies the box of pixels to the grid of patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.types import IGNORE

PEAK_EPSILON = 1e-5
"""Added to the maximum of a CAM before dividing by it."""


@torch.no_grad()
def multi_scale_cams(
    forward: Callable[[Tensor], Sequence[Tensor]],
    image: Tensor,
    scales: Sequence[float],
    known: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """CAMs at the size of the image, in [0, 1] per image and class.

    At every scale the larger of the image's and the mirror's activation counts; positive parts are summed over scales, then
    minimum and maximum go to 0 and 1.

    Args:
        forward: `(N, 3, h, w)` -> one or several class maps `(N, C, ., .)`.
        image: `(B, 3, H, W)`, as `forward` takes it.
        scales: Relative to the image.
        known: What `forward` gives for `image` itself, where that was computed already.

    Returns:
        As many `(B, C, H, W)` as `forward` gives maps.
    """
    size = image.shape[-2:]
    total: list[Tensor] | None = None
    for scale in scales:
        if scale == 1.0 and known is not None:
            views = [torch.cat(pair) for pair in zip(known, forward(image.flip(-1)), strict=True)]
        else:
            shape = [int(length * scale) for length in size]
            scaled = F.interpolate(image, shape, mode="bilinear", align_corners=False)
            views = list(forward(torch.cat([scaled, scaled.flip(-1)])))
        positive = []
        for maps in views:
            maps = F.interpolate(maps.float(), size, mode="bilinear", align_corners=False)
            direct, mirrored = maps.chunk(2)
            positive.append(torch.maximum(direct, mirrored.flip(-1)).relu())
        total = positive if total is None else [a + b for a, b in zip(total, positive, strict=True)]
    assert total is not None
    return [normalize_range(cam) for cam in total]


def normalize_range(maps: Tensor) -> Tensor:
    """Each map of `(B, C, h, w)` minus its minimum, divided by its maximum plus 1e-5."""
    maps = above_minimum(maps)
    return maps / (maps.amax(dim=(2, 3), keepdim=True) + PEAK_EPSILON)


def above_minimum(maps: Tensor) -> Tensor:
    """Each map of `(B, C, h, w)` minus its minimum.

    Tokens of a transformer are alike, so that a class map of an image with the class is positive everywhere: without this no
    fixed share of its peak would separate anything.
    """
    return maps - maps.amin(dim=(2, 3), keepdim=True)


def cam_to_label(cam: Tensor, labels: Tensor, valid: Tensor, low: float, high: float) -> Tensor:
    """Threshold CAMs: background up to `low`, class above `high`, 255 between; with `low == high` there is no band.

    Args:
        cam: `(B, C, h, w)` in [0, 1].
        labels: `(B, C)` multi-hot; absent classes do not compete.
        valid: `(B, h, w)` bool; 255 where False.
        low: Largest value that is background.
        high: Largest value that is not yet a class.

    Returns:
        `(B, h, w)` int64 in {0..C, 255}.
    """
    value, index = (cam * labels[:, :, None, None]).max(dim=1)
    label = torch.where(value > high, index + 1, IGNORE)
    return label.masked_fill(value <= low, 0).masked_fill(~valid, IGNORE)


@torch.no_grad()
def refine_pseudo_label(
    image: Tensor,
    cam: Tensor,
    labels: Tensor,
    valid: Tensor,
    low: float,
    high: float,
    refine: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Pseudo labels from CAMs that were refined under a high and a low background score.

    Background and present classes compete in a softmax at half size, `refine` follows the colours, and a pixel is a class
    where the high background loses, background where even the low one wins, and 255 between.

    Args:
        image: `(B, 3, H, W)` in [0, 1].
        cam: `(B, C, H, W)` in [0, 1].
        labels: `(B, C)` multi-hot.
        valid: `(B, H, W)` bool; 255 where False.
        low: The low background score.
        high: The high background score.
        refine: `(image, masks)` -> masks at the image's size (`PAR`).

    Returns:
        `(B, H, W)` int64 in {0..C, 255}.
    """
    size = image.shape[-2:]
    half = (size[0] // 2, size[1] // 2)
    present = labels > 0
    most = max(int(present.sum(dim=1).max()), 1)
    classes = (
        present.int().sort(dim=1, descending=True, stable=True).indices[:, :most]
    )  # (B, K), present first
    absent = ~present.gather(1, classes)
    maps = cam.gather(1, classes[:, :, None, None].expand(-1, -1, *size))  # (B, K, H, W)
    maps = F.interpolate(maps, half, mode="bilinear", align_corners=False)
    maps = maps.masked_fill(absent[:, :, None, None], -torch.inf)
    scores = [
        torch.cat([torch.full_like(maps[:, :1], background), maps], dim=1).softmax(dim=1)
        for background in (high, low)
    ]
    picture = F.interpolate(image, half, mode="bilinear", align_corners=False)
    refined = refine(picture, torch.cat(scores, dim=1))  # the colours are the same for both scores
    refined = F.interpolate(refined, size, mode="bilinear", align_corners=False)
    values = F.pad(classes + 1, (1, 0))  # (B, 1 + K)
    strict, lenient = (
        values.gather(1, part.argmax(dim=1).flatten(1)).unflatten(1, size) for part in refined.chunk(2, dim=1)
    )
    label = torch.where((strict == 0) & (lenient != 0), IGNORE, strict)
    return label.masked_fill(~valid, IGNORE)


def valid_patches(valid: Tensor, patch_size: int) -> Tensor:
    """`(B, H, W)` bool -> `(B, h, w)` bool: patches without a padded pixel."""
    return F.max_pool2d((~valid).float()[:, None], patch_size)[:, 0] == 0
