"""How the authors of a method read a segmentation out of their network, as data.

The read-outs of this suite are the same for all methods, so that rows can be ranked. A paper's figure was
measured in the authors' own way: other sizes, scales and CRFs, and other means over views. Read so, the same
checkpoint gives the score that the figure can be compared with (docs/protocol.md).

The order of steps is that of all authors: the image is resized to its base size, then to each scale; the
network sees each view and its mirror image; scores are enlarged to the size of the image (WeCLIP: to the
largest grid), mirrored back, fused over the two, and then over scales.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.crf.densecrf import CRFConfig
from wsss_bench.inference import (
    InferenceConfig,
    Predicts,
    base_size,
    logits_of,
    maps_of,
    placement_of,
    precision_of,
    stretched,
    with_mirrors,
    without_background,
)
from wsss_bench.placement import Placement, resize
from wsss_bench.types import InferenceSample


@dataclass(frozen=True)
class Tiles:
    """Overlapping tiles as in the test of OAA and MCIS (`eval_res.py: multi_scale_test`).

    The image is filled up to one tile at the bottom and right. Tiles start at multiples of `step`, the last
    one is shifted back inside. Scores of a later tile **replace** those of an earlier one, and all are then
    divided by the number of tiles of the pixel: where two overlap, the second one counts half. A side of
    `side - step` pixels or less gets no tile, and score 0.

    Args:
        side: Side of a tile in pixels.
        step: Distance of two tiles in pixels.
        fill: Colour of what is filled up, RGB in [0, 1]; the mean colour of the network, which becomes 0.
    """

    side: int
    step: int
    fill: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 0 < self.step <= self.side:
            raise ValueError(f"tiles have 0 < step <= side; got step {self.step} and side {self.side}")


@dataclass(frozen=True)
class PublishedReadout:
    """One read-out of a paper or of its code.

    Args:
        scales: Scales of the base size.
        squash: As `InferenceConfig.squash`, for this read-out alone. None: the base size of
            `InferenceConfig`.
        long_side: The base size has this long side and the ratio of the image, cut to whole pixels. None: as
            without it.
        resize: `bilinear`: the tensor, to int(scale * side) pixels, scores bilinear too. `bilinear_factor`:
            the same, but pixel i comes from i / scale, whatever was cut from the side. `cv2_bilinear`: the
            uint8 image by OpenCV, as mmcv does, scores bilinear. `cv2_bicubic`: the image in float by OpenCV,
            scores bicubic, as in MCIS.
        remainder: What is done with an image that does not divide into patches: `pad`, as `InferenceConfig`
            says (`pad_to` or `stretch_to`); or `drop`, the rows and columns after the last patch are seen by
            nobody, and the map is drawn over the whole image (a patch embedding without padding).
        tiles: The network sees tiles; None: whole images, or the windows of `InferenceConfig`.
        scores: What is fused: `logits`, or `probabilities` after the softmax.
        mirror: How the scores of image and mirror image are fused; `none`: no mirror image.
        fuse: How scales are fused.
        fuse_at: Where views and scales are fused: at the size of the `image`, or on the `grid` of the first
            scale, which is enlarged afterwards.
        crf: The authors' CRF; None: the maximum of the scores.
        crf_subtract: Colour, RGB in 0..255, that the authors' code subtracts from the image of the CRF before
            it casts it to uint8, where negative values wrap around (deeplab-pytorch). None: the raw image.

    Raises:
        ValueError: a value that cannot be used, or two that exclude each other.
    """

    scales: tuple[float, ...] = (1.0,)
    squash: int | None = None
    long_side: int | None = None
    resize: Literal["bilinear", "bilinear_factor", "cv2_bilinear", "cv2_bicubic"] = "bilinear"
    remainder: Literal["pad", "drop"] = "pad"
    tiles: Tiles | None = None
    scores: Literal["logits", "probabilities"] = "logits"
    mirror: Literal["none", "sum", "mean", "max"] = "none"
    fuse: Literal["sum", "mean", "max"] = "sum"
    fuse_at: Literal["image", "grid"] = "image"
    crf: CRFConfig | None = None
    crf_subtract: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales of a read-out are positive numbers, at least one; got {self.scales}")
        if self.squash is not None and self.squash < 1:
            raise ValueError(f"squash is the side of a square in pixels; got {self.squash}")
        if self.long_side is not None and self.long_side < 1:
            raise ValueError(f"long_side is a number of pixels, at least 1; got {self.long_side}")
        if self.squash is not None and self.long_side is not None:
            raise ValueError("squash and long_side both give the base size; leave out one of the two")
        if self.tiles is not None and self.remainder == "drop":
            raise ValueError("a read-out with tiles drops no remainder; leave out one of the two")
        if self.tiles is not None and self.fuse_at == "grid":
            raise ValueError("tiles are put together at the size of the image; leave out fuse_at: grid")
        if self.crf is None and self.crf_subtract is not None:
            raise ValueError("crf_subtract belongs to a CRF; leave it out, or add crf")


def published_probabilities(
    method: Predicts, samples: Sequence[InferenceSample], readout: PublishedReadout, config: InferenceConfig
) -> list[Tensor]:
    """Class probabilities of images of equal size, at full size, under a published read-out without its CRF.

    Returns:
        For each image `(1 + C, H, W)` float32 on the device of the method, background first; the sum over
        classes is 1.

    Raises:
        ValueError: `tiles`, and no scale of the image is large enough for one.
    """
    whole = samples[0].image.shape[:2]
    placement = method.segmentation_placement
    size: tuple[int, ...] | None = None if readout.fuse_at == "grid" else whole
    over_scales = "max" if readout.fuse == "max" else "sum"  # a mean is divided at the end
    fused: Tensor | None = None
    for scale in readout.scales:
        images = torch.cat([_view(sample.image, scale, readout, config) for sample in samples])
        views = with_mirrors(images.to(method.device), readout.mirror != "none")
        with precision_of(method, config):
            scores = _scores(partial(logits_of, method), placement, views, size, readout, config)
        size = tuple(scores.shape[-2:])
        if len(scores) > len(samples):
            scores = _fuse(readout.mirror, scores[: len(samples)], scores[len(samples) :].flip(-1))
        fused = scores if fused is None else _fuse(over_scales, fused, scores)
    assert fused is not None
    if readout.fuse == "mean":
        fused = fused / len(readout.scales)
    if readout.fuse_at == "grid":
        fused = placement.draw(fused, whole, whole)
    return [_probabilities(*pair, readout) for pair in zip(samples, fused, strict=True)]


def _probabilities(sample: InferenceSample, fused: Tensor, readout: PublishedReadout) -> Tensor:
    """Of one image, from what was fused over scales, at full size."""
    if readout.scores == "logits":
        return fused.softmax(dim=0)
    total = fused.sum(dim=0)
    if not total.any():
        height, width = total.shape
        raise ValueError(
            f"image {sample.image_id!r} of {height}x{width} pixels has no tile at any scale of the published "
            "read-out; leave this read-out out for images of that size"
        )
    return fused / total


def crf_image(image: np.ndarray, readout: PublishedReadout) -> np.ndarray:
    """The `(H, W, 3)` uint8 image that the authors give to their CRF."""
    if readout.crf_subtract is None:
        return image
    shifted = image.astype(np.float32) - np.array(readout.crf_subtract, np.float32)
    return shifted.astype(np.int32).astype(np.uint8)  # towards zero, then modulo 256, as on x86


def _view(image: np.ndarray, scale: float, readout: PublishedReadout, config: InferenceConfig) -> Tensor:
    """`(H, W, 3)` uint8 -> `(1, 3, h, w)`, about in [0, 1], at `scale` times the base size."""
    view = _at_scale(image, scale, readout, config)
    if config.stretch_to is None or readout.remainder == "drop":
        return view
    return resize(view, [stretched(side, config.stretch_to) for side in view.shape[-2:]])


def _at_scale(image: np.ndarray, scale: float, readout: PublishedReadout, config: InferenceConfig) -> Tensor:
    base = _base_size(image, readout, config)
    if readout.resize in ("bilinear", "bilinear_factor"):
        tensor = resize(_to_tensor(image), base)
        if readout.resize == "bilinear_factor" and scale != 1:
            return F.interpolate(tensor, scale_factor=scale, mode="bilinear", align_corners=False)
        return resize(tensor, [int(side * scale) for side in base])
    if readout.resize == "cv2_bilinear":
        method, array = cv2.INTER_LINEAR, image
    else:
        method, array = cv2.INTER_CUBIC, image.astype(np.float32)
    if base != array.shape[:2]:
        array = cv2.resize(array, base[::-1], interpolation=method)
    if scale != 1:
        array = cv2.resize(array, None, fx=scale, fy=scale, interpolation=method)
    return _to_tensor(array)


def _base_size(image: np.ndarray, readout: PublishedReadout, config: InferenceConfig) -> tuple[int, int]:
    """Height and width at scale 1."""
    height, width = image.shape[:2]
    if readout.squash is not None:
        return readout.squash, readout.squash
    if readout.long_side is None:
        return base_size(height, width, config)
    longer = max(height, width)
    return tuple(int(side * readout.long_side / longer) for side in (height, width))


def _to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def _scores(
    forward: Callable[[Tensor], Tensor],
    placement: Placement,
    views: Tensor,
    size: Sequence[int] | None,
    readout: PublishedReadout,
    config: InferenceConfig,
) -> Tensor:
    """`(N, 3, h, w)` -> `(N, 1 + C, *size)` logits or probabilities; `size` None leaves the grid as it is."""

    def finished(logits: Tensor) -> Tensor:
        logits = logits if config.background else without_background(logits)
        return logits if readout.scores == "logits" else logits.softmax(dim=1)

    if readout.tiles is not None:

        def of_tile(tile: Tensor) -> Tensor:
            seen = tile.shape[-2:]
            return finished(placement.draw(forward(tile).float(), seen, seen))

        assert size is not None
        scores = tile_scores(of_tile, views, readout.tiles)
        return _enlarge(scores, size, readout)
    if readout.remainder == "drop":
        multiple = config.pad_to or config.stretch_to or 1
        rows, columns = (length // multiple * multiple for length in views.shape[-2:])
        views = views[..., :rows, :columns]
        maps = forward(views).float()
    else:
        placement = placement_of(placement, config)
        maps = maps_of(forward, placement, views, config)
    return finished(maps if size is None else placement.draw(maps, views.shape[-2:], size))


def tile_scores(forward: Callable[[Tensor], Tensor], image: Tensor, tiles: Tiles) -> Tensor:
    """Scores of an image `(N, 3, h, w)` from its tiles, `(N, K, h, w)`; see `Tiles` for the overlaps.

    Args:
        forward: Scores `(N, K, side, side)` of a tile `(N, 3, side, side)`.
        image: Any size.
        tiles: Side, step and colour.
    """
    height, width = image.shape[-2:]
    side = tiles.side
    colour = image.new_tensor(tiles.fill).view(1, 3, 1, 1)
    whole = colour.repeat(len(image), 1, max(height, side), max(width, side))
    whole[..., :height, :width] = image
    total: Tensor | None = None
    count = image.new_zeros(1, 1, height, width)
    for top in _starts(height, tiles):
        for left in _starts(width, tiles):
            bottom, right = min(top + side, height), min(left + side, width)
            scores = forward(whole[..., top : top + side, left : left + side])
            if total is None:
                total = scores.new_zeros(*scores.shape[:2], height, width)
            total[..., top:bottom, left:right] = scores[..., : bottom - top, : right - left]
            count[..., top:bottom, left:right] += 1
    if total is None:  # too small for a tile: zeros for as many classes as the network has
        channels = forward(whole[..., :side, :side]).shape[1]
        return image.new_zeros(len(image), channels, height, width)
    return total / count.clamp(min=1)


def _starts(length: int, tiles: Tiles) -> list[int]:
    """First pixels of the tiles of a row or column of `length` pixels."""
    count = math.ceil((length - tiles.side) / tiles.step) + 1
    return [min(k * tiles.step, max(length - tiles.side, 0)) for k in range(count)]


def _enlarge(scores: Tensor, size: Sequence[int], readout: PublishedReadout) -> Tensor:
    mode = "bicubic" if readout.resize == "cv2_bicubic" else "bilinear"
    if tuple(scores.shape[-2:]) == tuple(size):
        return scores
    return F.interpolate(scores, tuple(size), mode=mode, align_corners=False)


def _fuse(rule: str, first: Tensor, second: Tensor) -> Tensor:
    if rule == "max":
        return torch.maximum(first, second)
    total = first + second
    return total / 2 if rule == "mean" else total
