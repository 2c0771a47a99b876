"""A segmentation read out as its authors do (`published_readout.py`).

The order of steps is that of all authors: the image is resized to its base size, then to each scale; the
network sees each view and its mirror image; scores are enlarged to the size of the image (WeCLIP: to the
largest grid), mirrored back, fused over the two, and then over scales.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.inference import (
    Predicts,
    logits_of,
    maps_of,
    placement_of,
    precision_of,
    slide,
    with_mirrors,
    without_background,
)
from wsss_bench.inference_config import InferenceConfig, base_size, stretched
from wsss_bench.nn.pamr import pamr
from wsss_bench.placement import Placement, resize
from wsss_bench.published_readout import PublishedReadout, Tiles
from wsss_bench.transfer import to_device
from wsss_bench.types import InferenceSample


def published_probabilities(
    method: Predicts, samples: Sequence[InferenceSample], readout: PublishedReadout, config: InferenceConfig
) -> list[Tensor]:
    """Class probabilities of images of equal size, at full size, under a published read-out without its CRF.

    Returns:
        For each image `(1 + C, H, W)` float32 on the device of the method, background first; the sum over
        classes is 1, or less where `area_threshold` removes a class.

    Raises:
        ValueError: `tiles`, and no scale of the image is large enough for one.
    """
    whole = samples[0].image.shape[:2]
    placement = method.segmentation_placement
    size = _fused_size(whole, readout)
    over_scales = "max" if readout.fuse == "max" else "sum"  # a mean is divided at the end
    fused: Tensor | None = None
    for scale in readout.scales:
        images = torch.cat([_view(sample.image, scale, readout, config) for sample in samples])
        mirrored = readout.mirrored_scales is None or scale in readout.mirrored_scales
        views = with_mirrors(to_device(images, method.device), mirrored and readout.mirror != "none")
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
    fused = _enlarge(fused, whole, readout)
    return [_probabilities(*pair, readout, config) for pair in zip(samples, fused, strict=True)]


def _probabilities(
    sample: InferenceSample, fused: Tensor, readout: PublishedReadout, config: InferenceConfig
) -> Tensor:
    """Of one image, from what was fused over scales, at full size."""
    if readout.pamr_dilations:
        # as the authors' network gets it: reduced and enlarged again, which smooths the colours
        view = _view(sample.image, 1.0, readout, config)
        guide = to_device(_enlarge(view, sample.image.shape[:2], readout), fused.device)
        first = 0 if config.background else 1  # the logit of a background that is left out is -inf
        refined = pamr(guide, fused[None, first:], dilations=readout.pamr_dilations)[0]
        fused = torch.cat([fused[:first], refined])
    probabilities = fused.softmax(dim=0) if readout.scores == "logits" else _shares(sample, fused)
    if readout.area_threshold is not None:
        probabilities = without_small_classes(probabilities, readout.area_threshold)
    return probabilities


def _shares(sample: InferenceSample, scores: Tensor) -> Tensor:
    """Fused probabilities `(1 + C, H, W)` divided by their sum over classes."""
    total = scores.sum(dim=0)
    if not total.any():
        height, width = total.shape
        raise ValueError(
            f"image {sample.image_id!r} of {height}x{width} pixels has no tile at any scale of the published "
            "read-out; leave this read-out out for images of that size"
        )
    return scores / total


def without_small_classes(probabilities: Tensor, share: float) -> Tensor:
    """Probabilities `(1 + C, H, W)` without the classes that win few pixels, the background aside.

    A class stays if it wins more than `share` of all pixels that any class but the background wins.
    """
    winners = probabilities.argmax(dim=0).flatten()
    pixels = winners.new_zeros(len(probabilities)).scatter_add(0, winners, torch.ones_like(winners))
    stays = pixels > share * pixels[1:].sum()
    stays[0] = True
    return probabilities * stays[:, None, None]


def _view(image: np.ndarray, scale: float, readout: PublishedReadout, config: InferenceConfig) -> Tensor:
    """`(H, W, 3)` uint8 -> `(1, 3, h, w)`, about in [0, 1], at `scale` times the base size."""
    view = _at_scale(image, scale, readout, config)
    if config.stretch_to is None or readout.remainder == "drop":
        return view
    return resize(view, [stretched(side, config.stretch_to) for side in view.shape[-2:]])


def _at_scale(image: np.ndarray, scale: float, readout: PublishedReadout, config: InferenceConfig) -> Tensor:
    base = _base_size(image, readout, config)
    if readout.resize in ("bilinear", "bilinear_once", "bilinear_factor"):
        tensor = _to_tensor(image)
        if readout.resize != "bilinear_once":
            tensor = resize(tensor, base)
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
    return int(height * readout.long_side / longer), int(width * readout.long_side / longer)


def _fused_size(whole: tuple[int, int], readout: PublishedReadout) -> tuple[int, ...] | None:
    """Height and width at which scores are fused; None: that of the output at the first scale."""
    if isinstance(readout.fuse_at, str):
        return None if readout.fuse_at == "grid" else whole
    return max(int(whole[0] * readout.fuse_at), 1), max(int(whole[1] * readout.fuse_at), 1)


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
    if readout.remainder == "drop" and config.window is not None and config.window_stride is not None:

        def of_window(window: Tensor) -> Tensor:  # an image smaller than a window is one of its size
            kept = _without_remainder(window, config)
            return placement.draw(forward(kept).float(), kept.shape[-2:], window.shape[-2:])

        maps = slide(of_window, views, config.window, config.window_stride)
        return finished(_enlarge(maps, views.shape[-2:] if size is None else size, readout))
    if readout.remainder == "drop":
        views = _without_remainder(views, config)
        maps = forward(views).float()
    else:
        placement = placement_of(placement, config)
        maps = maps_of(forward, placement, views, config)
    return finished(maps if size is None else placement.draw(maps, views.shape[-2:], size))


def _without_remainder(views: Tensor, config: InferenceConfig) -> Tensor:
    """Views without the rows and columns that the last patches do not reach."""
    multiple = config.pad_to or config.stretch_to or 1
    rows, columns = (length // multiple * multiple for length in views.shape[-2:])
    return views[..., :rows, :columns]


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
