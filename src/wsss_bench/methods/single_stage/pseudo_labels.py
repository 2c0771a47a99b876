"""Online pseudo labels: from the network's CAMs to masks in which uncertain pixels are 255.

Ru et al., AFA (CVPR 2022) and ToCo (CVPR 2023, https://github.com/rulixiang/ToCo), `utils/camutils.py`; SeCo,
DuPL and MoRe do the same.

Nothing here has a gradient. Departure: padding is taken from the map `valid` of the batch. ToCo keeps the
image's box, mirrors the image after the box was recorded, and applies the box, in pixels, to the grid of
patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.inference import normalize_peaks
from wsss_bench.types import IGNORE


@torch.no_grad()
def multi_scale_cams(
    forward: Callable[[Tensor], Sequence[Tensor]],
    image: Tensor,
    scales: Sequence[float],
    known: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """CAMs at the size of the image, in [0, 1] per image and class.

    At every scale the element-wise maximum of the maps of image and mirrored image is taken; the positive
    parts are summed over scales and min-max normalised.

    Args:
        forward: `(N, 3, h, w)` -> one or several class maps `(N, C, ., .)`.
        image: `(B, 3, H, W)`, as `forward` takes it.
        scales: Relative to the image.
        known: Result of `forward(image)`, if it was computed already.

    Returns:
        One `(B, C, H, W)` for each class map that `forward` returns.
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
            original, mirrored = maps.chunk(2)
            positive.append(torch.maximum(original, mirrored.flip(-1)).relu())
        total = positive if total is None else [a + b for a, b in zip(total, positive, strict=True)]
    assert total is not None
    return [min_max_normalize(cam) for cam in total]


def min_max_normalize(maps: Tensor) -> Tensor:
    """Subtract the minimum of each map of `(B, C, h, w)`, then divide by the maximum plus 1e-5."""
    return normalize_peaks(subtract_minimum(maps))


def subtract_minimum(maps: Tensor) -> Tensor:
    """Subtract the minimum of each map of `(B, C, h, w)`.

    The tokens of a transformer are similar to each other, so the map of a present class is positive
    everywhere. Without the subtraction no threshold relative to the maximum would separate object and
    background.
    """
    return maps - maps.amin(dim=(2, 3), keepdim=True)


def cam_to_label(cam: Tensor, labels: Tensor, valid: Tensor, low: float, high: float) -> Tensor:
    """Threshold CAMs: background up to `low`, the best class above `high`, 255 (uncertain) between.

    With `low == high` no pixel is uncertain.

    Args:
        cam: `(B, C, h, w)` in [0, 1].
        labels: `(B, C)` multi-hot; absent classes are not considered.
        valid: `(B, h, w)` bool; False (padding) becomes 255.
        low: Largest value that is background.
        high: Largest value that is not yet foreground.

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
    most_labels: int,
) -> Tensor:
    """Pseudo labels from refined CAMs, with a high and a low background score.

    For each background score, background and present classes go through a softmax at half resolution, are
    refined by the colours of the image, and give an argmax label. A pixel is a class if the label of the high
    score is a class, background if both labels are background, and 255 (uncertain) otherwise.

    Args:
        image: `(B, 3, H, W)` in [0, 1].
        cam: `(B, C, H, W)` in [0, 1].
        labels: `(B, C)` multi-hot.
        valid: `(B, H, W)` bool; False (padding) becomes 255.
        low: The low background score.
        high: The high background score.
        refine: `(image, masks)` -> masks at the image's size (`PAR`).
        most_labels: Labels of the image that has the most.

    Returns:
        `(B, H, W)` int64 in {0..C, 255}.
    """
    size = image.shape[-2:]
    half_size = (size[0] // 2, size[1] // 2)
    present = labels > 0
    # K: the largest number of classes in an image of the batch; an image with fewer is filled up with absent
    # classes
    present_first = present.int().sort(dim=1, descending=True, stable=True).indices
    classes = present_first[:, : max(most_labels, 1)]  # (B, K)
    absent = ~present.gather(1, classes)
    maps = cam.gather(1, classes[:, :, None, None].expand(-1, -1, *size))  # (B, K, H, W)
    maps = F.interpolate(maps, half_size, mode="bilinear", align_corners=False)
    maps = maps.masked_fill(absent[:, :, None, None], -torch.inf)
    scores = [
        torch.cat([torch.full_like(maps[:, :1], background), maps], dim=1).softmax(dim=1)
        for background in (high, low)
    ]
    half_image = F.interpolate(image, half_size, mode="bilinear", align_corners=False)
    # both in one call, since the affinities of the pixels are the same
    refined = refine(half_image, torch.cat(scores, dim=1))
    refined = F.interpolate(refined, size, mode="bilinear", align_corners=False)
    values = F.pad(classes + 1, (1, 0))  # (B, 1 + K): mask values of the channels
    label_high, label_low = (
        values.gather(1, part.argmax(dim=1).flatten(1)).unflatten(1, size) for part in refined.chunk(2, dim=1)
    )
    label = torch.where((label_high == 0) & (label_low != 0), IGNORE, label_high)
    return label.masked_fill(~valid, IGNORE)


def valid_patches(valid: Tensor, patch_size: int) -> Tensor:
    """`(B, H, W)` bool -> `(B, h, w)` bool: patches without a padded pixel."""
    return F.max_pool2d((~valid).float()[:, None], patch_size)[:, 0] == 0
