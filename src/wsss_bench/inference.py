"""Inference of all methods: from one image at its original size to seeds or segmentation probabilities.

Scales, flips, sliding windows, padding, selection of the labelled classes and normalisation are implemented
here. The sizes that an image gets are in `inference_config.py`; where the cells of a map lie is said by the
method (`placement.py`).

Seeds follow `make_cam` of IRN (Ahn et al., CVPR 2019): at each scale the activations of the image and of its
mirror image (mirrored back) are added and resized to the image; they are summed over scales, restricted to
the labelled classes, and divided by the maximum of each class. A segmentation is the mean of softmax
probabilities over scales and mirror images, at the full size of the image.

Images of equal size may go through the network together. All that follows is done for each image alone, so
that a batch changes rounding only, and takes no more memory for maps at full size than one image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench import bicubic
from wsss_bench.inference_config import InferenceConfig, size_at
from wsss_bench.placement import CroppedGrid, Placement, Stretched, resize
from wsss_bench.transfer import to_device, to_host
from wsss_bench.types import InferenceSample, ScoreMaps

Product = Literal["seed", "segmentation"]
STRIDE = 4
"""Stride of the second set of seed maps, the input of random walks (IRN)."""
PEAK_EPSILON = 1e-5
"""Added to the maximum of a seed map before dividing by it (IRN)."""


class Predicts(Protocol):
    """The part of a method that inference uses."""

    seed_placement: Placement
    segmentation_placement: Placement

    @property
    def gradients_at_inference(self) -> bool:
        return False

    @property
    def seeds_with_background(self) -> bool:
        return False

    @property
    def device(self) -> torch.device: ...

    def seed_maps(self, image: Tensor, labels: Tensor | None, references: Sequence[Any]) -> Tensor: ...

    def segmentation_logits(self, image: Tensor) -> Tensor: ...

    def zero_grad(self) -> None:
        return None


def seeds_of(
    method: Predicts, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
) -> Tensor:
    """`seed_maps` of a method, with gradients inside where it needs them, and none outside."""

    def seed_maps(image: Tensor, labels: Tensor | None) -> Tensor:
        return method.seed_maps(image, labels, references)

    return _run(method, seed_maps, image, labels)


def logits_of(method: Predicts, image: Tensor) -> Tensor:
    """`segmentation_logits` of a method, with gradients inside where it needs them, and none outside."""
    return _run(method, method.segmentation_logits, image)


def _run(method: Predicts, maps_of: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    if not method.gradients_at_inference:
        return maps_of(*inputs)
    with torch.inference_mode(False), torch.enable_grad():
        # tensors of the inference mode cannot be saved for a backward pass; copies can
        maps = maps_of(*(tensor if tensor is None else tensor.clone() for tensor in inputs)).detach()
    method.zero_grad()
    return maps


def predict(
    method: Predicts, samples: Sequence[InferenceSample], product: Product, config: InferenceConfig
) -> list[Any]:
    """Predict images of equal size in one batch.

    Returns:
        For each image what `seed_score_maps` or `segmentation_probabilities` gives, depending on the product.
    """
    with precision_of(method, config):
        if product == "seed":
            return [*seed_score_maps(method, samples, config)]
        return [*segmentation_probabilities(method, samples, config)]


def precision_of(method: Predicts, config: InferenceConfig) -> AbstractContextManager[Any]:
    """The context that a network predicts in: bfloat16 if the configuration says so, else as it is."""
    if config.precision is None:
        return nullcontext()
    return torch.autocast(method.device.type, torch.bfloat16)


def seed_score_maps(
    method: Predicts, samples: Sequence[InferenceSample], config: InferenceConfig
) -> list[ScoreMaps]:
    """Multi-scale seeds of the labelled classes of images of equal size.

    The maps at full size and those at stride 4 are both resized from the output of the network. Images
    without any class have no maps, and do not go through the network.

    Raises:
        ValueError: a sample has no image labels, which seeds need.
    """
    for sample in samples:
        if sample.labels is None:
            raise ValueError(
                f"seeds of image {sample.image_id!r} need its image labels; give them, or predict a "
                "segmentation"
            )
    labelled = [sample for sample in samples if sample.labels is not None and sample.labels.any()]
    found = iter(_labelled_seeds(method, labelled, config) if labelled else ())
    return [next(found) if np.any(sample.labels) else _empty_seeds(sample) for sample in samples]


def _empty_seeds(sample: InferenceSample) -> ScoreMaps:
    height, width = sample.image.shape[:2]
    empty = np.zeros((0, 1, 1), np.float16)
    return ScoreMaps(sample.image_id, np.zeros(0, np.uint8), empty, (height, width), empty)


def _labelled_seeds(
    method: Predicts, samples: Sequence[InferenceSample], config: InferenceConfig
) -> list[ScoreMaps]:
    """`seed_score_maps` of images with at least one class each."""
    height, width = samples[0].image.shape[:2]
    given = np.stack([np.asarray(sample.labels) for sample in samples])  # (B, C)
    labels = to_device(torch.as_tensor(given), method.device)
    # channels that are drawn: the background, and the classes of any image of the batch
    background = [*range(int(method.seeds_with_background))]
    present = np.flatnonzero(given.any(axis=0))
    keep = _channels(background, present, method.device)
    own = [_channels(background, np.flatnonzero(row[present]), method.device) for row in given]

    def forward(images: Tensor) -> Tensor:
        views = len(images) // len(samples)
        return seeds_of(method, images, labels.repeat(views, 1), samples[0].references)[:, keep]

    placement = placement_of(method.seed_placement, config)
    pixels = [pixels_on(sample.image, method.device) for sample in samples]
    full: list[list[Tensor]] = [[] for _ in samples]
    strided: list[list[Tensor]] = [[] for _ in samples]
    for scale in config.scales:
        images = at_scale(pixels, scale, config)
        outputs = maps_of(forward, placement, with_mirrors(images, config.flip), config)
        for number, channels in enumerate(own):
            maps = outputs[number :: len(samples), channels]  # (1 or 2, K, h, w), background in front
            maps = maps[:1] + maps[1:].flip(-1) if config.flip else maps
            full[number].append(placement.draw(maps, images.shape[-2:], (height, width)))
            strided[number].append(resize(maps, [(n - 1) // STRIDE + 1 for n in (height, width)]))
    views = len(config.scales) * (2 if config.flip else 1) if background else None
    return [
        _normalised(sample, torch.stack(maps).sum(dim=0)[0], torch.stack(coarse).sum(dim=0)[0], views)
        for sample, maps, coarse in zip(samples, full, strided, strict=True)
    ]


def _channels(background: list[int], classes: np.ndarray, device: torch.device) -> Tensor:
    """Indices of maps on a device: those of the background, and those of classes, which follow it."""
    return to_device(torch.as_tensor([*background, *(classes + len(background))]), device)


def _normalised(sample: InferenceSample, total: Tensor, coarse: Tensor, views: int | None) -> ScoreMaps:
    """Seeds from the sums over scales and mirror images.

    Args:
        sample: The image.
        total: `(K, H, W)`, or `(1 + K, H, W)` with a background in front.
        coarse: The same at stride 4.
        views: Number of scales and mirror images, of methods with a background; else None.
    """
    background: list[Tensor] = []
    if views is not None:
        background = [total[0] / views]
        scores, strided = (_above_background(maps[1:], maps[0] / views) for maps in (total, coarse))
    else:
        scores, strided = normalize_peaks(total), normalize_peaks(coarse)
    values = (np.flatnonzero(np.asarray(sample.labels)) + 1).astype(np.uint8)
    height, width = sample.image.shape[:2]
    arrays = to_host([maps.half() for maps in (scores, strided, *background)])
    return ScoreMaps(sample.image_id, values, arrays[0], (height, width), *arrays[1:])


def segmentation_probabilities(
    method: Predicts, samples: Sequence[InferenceSample], config: InferenceConfig
) -> list[dict[str, Tensor]]:
    """Class probabilities of images of equal size at full size, without image labels.

    Returns:
        For each image `ss` (scale 1, no mirror image) and, with `multi_scales`, `ms` (mean over these and
        their mirror images), from one pass over the scales; `(1 + C, H, W)` float32, background first, on the
        device of the method: those of 171 classes are 130 MB, of which a mask needs little.
    """
    size = samples[0].image.shape[:2]
    placement = placement_of(method.segmentation_placement, config)
    pixels = [pixels_on(sample.image, method.device) for sample in samples]
    found: list[dict[str, Tensor]] = [{} for _ in samples]
    for scale in sorted({1.0, *config.multi_scales}):
        images = at_scale(pixels, scale, config)
        in_mean = scale in config.multi_scales
        outputs = maps_of(partial(logits_of, method), placement, with_mirrors(images, in_mean), config)
        for number, results in enumerate(found):
            logits = placement.draw(outputs[number :: len(samples)], images.shape[-2:], size)
            if not config.background:
                logits = without_background(logits)
            probabilities = logits.softmax(dim=1)  # (1 or 2, 1 + C, H, W)
            if scale == 1.0:
                results["ss"] = probabilities[0]
            if in_mean:
                both = probabilities[0] + probabilities[1].flip(-1)
                results["ms"] = results["ms"] + both if "ms" in results else both
    for results in found:
        if "ms" in results:
            results["ms"] /= 2 * len(config.multi_scales)
    return found


def normalize_peaks(maps: Tensor) -> Tensor:
    """Divide each map of `(..., h, w)`, >= 0, by its maximum plus 1e-5; the result is in [0, 1)."""
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + PEAK_EPSILON)


def _above_background(maps: Tensor, background: Tensor) -> Tensor:
    """Normalised `(K, h, w)` maps, 0 where they do not exceed the background `(h, w)`.

    Such a pixel is background under every threshold, for whoever reads the seeds.
    """
    scores = normalize_peaks(maps)
    return scores.where(scores > background, torch.zeros_like(scores))


def without_background(logits: Tensor) -> Tensor:
    """Logits `(N, 1 + C, H, W)` of a data set without background: that of the background is -inf."""
    return torch.cat([torch.full_like(logits[:, :1], -torch.inf), logits[:, 1:]], dim=1)


def placement_of(own: Placement, config: InferenceConfig) -> Placement:
    """How the maps of `maps_of` lie: as the method says, or at every pixel with windows or padding.

    In a stretched image nothing is left over for `CroppedGrid` to cut off.
    """
    if config.stretch_to is not None and isinstance(own, CroppedGrid):
        return Stretched()
    return own if config.window is None and config.pad_to is None else Stretched()


def maps_of(
    forward: Callable[[Tensor], Tensor], placement: Placement, image: Tensor, config: InferenceConfig
) -> Tensor:
    """Maps of a batch: at the output size of the network, or at image size with windows or padding."""
    if config.window is not None and config.window_stride is not None:
        return slide(
            lambda crop: _padded(forward, placement, crop, config.pad_to or 1).float(),
            image,
            config.window,
            config.window_stride,
        )
    maps = _padded(forward, placement, image, config.pad_to) if config.pad_to else forward(image)
    return maps.float()  # under bf16 autocast, scales are summed and normalised in full precision


def slide(forward: Callable[[Tensor], Tensor], image: Tensor, window: int, stride: int) -> Tensor:
    """Sliding window over `(N, 3, H, W)` -> `(N, K, H, W)`; `forward` returns maps at the size of its crop.

    Windows start at multiples of `stride`; the last one of a row or column is shifted back inside the image.
    Overlapping scores are averaged. An image smaller than the window is processed as a whole.
    """
    height, width = image.shape[-2:]
    rows = math.ceil(max(height - window, 0) / stride) + 1
    columns = math.ceil(max(width - window, 0) / stride) + 1
    total: Tensor | None = None
    count = image.new_zeros(1, 1, height, width)
    for row in range(rows):
        bottom = min(row * stride + window, height)
        top = max(bottom - window, 0)
        for column in range(columns):
            right = min(column * stride + window, width)
            left = max(right - window, 0)
            scores = forward(image[..., top:bottom, left:right])
            if total is None:
                total = scores.new_zeros(len(image), scores.shape[1], height, width)
            total[..., top:bottom, left:right] += scores
            count[..., top:bottom, left:right] += 1
    assert total is not None
    return total / count


def _padded(
    forward: Callable[[Tensor], Tensor], placement: Placement, image: Tensor, multiple: int
) -> Tensor:
    """Maps at the size of `image`, which is zero-padded to a multiple, half on each side (smaller first)."""
    height, width = image.shape[-2:]
    extra_rows, extra_columns = -height % multiple, -width % multiple
    top, left = extra_rows // 2, extra_columns // 2
    padded = F.pad(image, (left, extra_columns - left, top, extra_rows - top))
    maps = placement.draw(forward(padded), padded.shape[-2:], padded.shape[-2:])
    return maps[..., top : top + height, left : left + width]


def pixels_on(image: np.ndarray, device: torch.device) -> Tensor:
    """`(H, W, 3)` uint8 on the device of a method: an image is moved once, whatever its number of scales."""
    return to_device(torch.from_numpy(np.array(image)), device)


def at_scale(pixels: Sequence[Tensor], scale: float, config: InferenceConfig) -> Tensor:
    """Images `(H, W, 3)` uint8 of equal size -> `(B, 3, h, w)` in [0, 1] (PIL bicubic, as in IRN)."""
    height, width = pixels[0].shape[:2]
    size = size_at(height, width, scale, config)
    return torch.cat([_unit_range(bicubic.resize(image, size)) for image in pixels])


def image_tensor(image: np.ndarray, device: torch.device) -> Tensor:
    """`(H, W, 3)` uint8 -> `(1, 3, H, W)` float in [0, 1]."""
    return _unit_range(pixels_on(image, device))


def _unit_range(pixels: Tensor) -> Tensor:
    return pixels.permute(2, 0, 1)[None].float() / 255


def with_mirrors(images: Tensor, flip: bool) -> Tensor:
    """`(B, 3, h, w)` -> the same with all mirror images behind them, `(2B, 3, h, w)`, if `flip`.

    Image b and its mirror image are then `[b::B]`.
    """
    return torch.cat([images, images.flip(-1)]) if flip else images
