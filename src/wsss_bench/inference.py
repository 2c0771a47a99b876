"""Inference of all methods: from one image at its original size to seeds or segmentation probabilities.

Scales, flips, sliding windows, padding, selection of the labelled classes and normalisation are implemented
here; where the cells of a map lie is said by the method (`placement.py`).

Seeds follow `make_cam` of IRN (Ahn et al., CVPR 2019): at each scale the activations of the image and of its
mirror image (mirrored back) are added and resized to the image; they are summed over scales, restricted to
the labelled classes, and divided by the maximum of each class. A segmentation is the mean of softmax
probabilities over scales and mirror images, at the full size of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench import bicubic
from wsss_bench.placement import Placement, Stretched, resize
from wsss_bench.ranges import check_range, check_ranges
from wsss_bench.types import InferenceSample, ScoreMaps

Product = Literal["seed", "segmentation"]
STRIDE = 4
"""Stride of the second set of seed maps, the input of random walks (IRN)."""
MAX_SCALE = 16.0
"""Largest scale: beyond it an image of ordinary size does not fit into memory."""
PEAK_EPSILON = 1e-5
"""Added to the maximum of a seed map before dividing by it (IRN)."""


@dataclass(frozen=True)
class InferenceConfig:
    """How a method is applied to an image.

    Args:
        scales: Scales of the seeds, relative to the (possibly resized) image.
        flip: Add the mirror image to the seeds.
        pad_to: Pad the image to a multiple of this (the patch size), half on each side, and crop the maps
            back.
        short_side: Resize the image so that its short side has this many pixels, keeping the aspect ratio.
            None: the original size.
        long_side: Upper limit of the long side when resizing by `short_side`.
        window: Side of a sliding window in pixels. None: the whole image at once.
        window_stride: Step of the window. The last window is shifted back inside the image; overlapping
            scores are averaged.
        references: Number of reference images of each class of the image that a method gets with it (seeds of
            MCIS), drawn with replacement from the training images.
        multi_scales: Scales of the multi-scale segmentation, all with mirror images. The predict stage sets
            it from the protocol of the data set.
        background: False predicts foreground classes only, for a data set without background. The predict
            stage sets it from the source.
        precision: `bf16`: the network computes in bfloat16 (autocast) on any device, whatever the precision
            of the trainer; two to three times faster on processors that have it, and not the same seeds.
            None: the precision of the trainer. Scales are summed and normalised in float32 in both.
    """

    scales: tuple[float, ...] = (1.0, 0.5, 1.5, 2.0)
    flip: bool = True
    pad_to: int | None = None
    short_side: int | None = None
    long_side: int = 2048
    window: int | None = None
    window_stride: int | None = None
    references: int = 0
    multi_scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    background: bool = True
    precision: Literal["bf16"] | None = None

    def __post_init__(self) -> None:
        check_ranges("inference.scales", self.scales, above=0, most=MAX_SCALE)
        check_ranges("inference.multi_scales", self.multi_scales, above=0, most=MAX_SCALE)
        for name in ("pad_to", "short_side", "long_side", "window", "window_stride"):
            check_range(f"inference.{name}", getattr(self, name), 1)
        check_range("inference.references", self.references, 0)
        if (self.window is None) != (self.window_stride is None):
            raise ValueError("a sliding window needs both inference.window and inference.window_stride")
        if self.window is not None and self.window_stride is not None and self.window_stride > self.window:
            raise ValueError(
                f"inference.window_stride is {self.window_stride}, more than inference.window {self.window}: "
                "pixels between the windows would have no score; lower it"
            )


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


def predict(method: Predicts, sample: InferenceSample, product: Product, config: InferenceConfig) -> Any:
    """Predict one image: `seed_score_maps` or `segmentation_probabilities`, depending on the product."""
    with precision_of(method, config):
        if product == "seed":
            return seed_score_maps(method, sample, config)
        return segmentation_probabilities(method, sample, config)


def precision_of(method: Predicts, config: InferenceConfig) -> AbstractContextManager[Any]:
    """The context that a network predicts in: bfloat16 if the configuration says so, else as it is."""
    if config.precision is None:
        return nullcontext()
    return torch.autocast(method.device.type, torch.bfloat16)


def seed_score_maps(method: Predicts, sample: InferenceSample, config: InferenceConfig) -> ScoreMaps:
    """Multi-scale seeds of the labelled classes of one image.

    The maps at full size and those at stride 4 are both resized from the output of the network.

    Raises:
        ValueError: the sample has no image labels, which seeds need.
    """
    if sample.labels is None:
        raise ValueError(
            f"seeds of image {sample.image_id!r} need its image labels; give them, or predict a segmentation"
        )
    height, width = sample.image.shape[:2]
    classes = np.flatnonzero(sample.labels)
    if classes.size == 0:
        empty = np.zeros((0, 1, 1), np.float16)
        return ScoreMaps(sample.image_id, np.zeros(0, np.uint8), empty, (height, width), empty)
    labels = torch.as_tensor(sample.labels, device=method.device)[None]
    own_background = int(method.seeds_with_background)
    chosen = [*range(own_background), *(classes + own_background)]
    keep = torch.as_tensor(chosen, device=method.device)

    def forward(image: Tensor) -> Tensor:
        return seeds_of(method, image, labels.expand(len(image), -1), sample.references)[:, keep]

    base = base_size(height, width, config)
    placement = placement_of(method.seed_placement, config)
    pixels = pixels_on(sample.image, method.device)
    full: list[Tensor] = []
    strided: list[Tensor] = []
    for scale in config.scales:
        image = _at_scale(pixels, base, scale)
        maps = maps_of(forward, placement, with_mirror(image, config.flip), config)
        maps = maps[:1] + maps[1:].flip(-1) if config.flip else maps  # (1, K, h, w), or background and K
        full.append(placement.draw(maps, image.shape[-2:], (height, width)))
        strided.append(resize(maps, [(n - 1) // STRIDE + 1 for n in (height, width)]))
    total, coarse = (torch.stack(maps).sum(dim=0)[0] for maps in (full, strided))
    background = None
    if own_background:
        views = len(config.scales) * (2 if config.flip else 1)
        background = (total[0] / views).half().cpu().numpy()
        scores, strided_scores = (_above_background(maps[1:], maps[0] / views) for maps in (total, coarse))
    else:
        scores, strided_scores = normalize_peaks(total), normalize_peaks(coarse)
    values = (classes + 1).astype(np.uint8)
    arrays = [maps.half().cpu().numpy() for maps in (scores, strided_scores)]
    return ScoreMaps(sample.image_id, values, arrays[0], (height, width), arrays[1], background)


def segmentation_probabilities(
    method: Predicts, sample: InferenceSample, config: InferenceConfig
) -> dict[str, Tensor]:
    """Class probabilities of one image at full size, without image labels.

    Returns:
        `ss` (scale 1, no mirror image) and `ms` (mean over `multi_scales` and mirror images), from one pass
        over the scales; `(1 + C, H, W)` float32, background first, on the device of the method: those of 171
        classes are 130 MB, of which a mask needs little.
    """
    height, width = sample.image.shape[:2]
    base = base_size(height, width, config)
    placement = placement_of(method.segmentation_placement, config)
    pixels = pixels_on(sample.image, method.device)
    mean: Tensor | None = None
    single: Tensor | None = None
    for scale in sorted({1.0, *config.multi_scales}):
        image = _at_scale(pixels, base, scale)
        in_mean = scale in config.multi_scales
        logits = maps_of(partial(logits_of, method), placement, with_mirror(image, in_mean), config)
        logits = placement.draw(logits, image.shape[-2:], (height, width))
        if not config.background:
            logits = without_background(logits)
        probabilities = logits.softmax(dim=1)  # (1 or 2, 1 + C, H, W)
        if scale == 1.0:
            single = probabilities[0]
        if in_mean:
            both = probabilities[0] + probabilities[1].flip(-1)
            mean = both if mean is None else mean + both
    assert single is not None
    assert mean is not None
    return {"ss": single, "ms": mean / (2 * len(config.multi_scales))}


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
    """How the maps of `maps_of` lie: as the method says, or at every pixel with windows or padding."""
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


def base_size(height: int, width: int, config: InferenceConfig) -> tuple[int, int]:
    """Height and width of the image at scale 1: resized by `short_side`, if that is set."""
    if config.short_side is None:
        return height, width
    factor = min(config.short_side / min(height, width), config.long_side / max(height, width))
    return int(height * factor + 0.5), int(width * factor + 0.5)


def pixels_on(image: np.ndarray, device: torch.device) -> Tensor:
    """`(H, W, 3)` uint8 on the device of a method: an image is moved once, whatever its number of scales."""
    return torch.from_numpy(np.array(image)).to(device)


def _at_scale(pixels: Tensor, base: tuple[int, int], scale: float) -> Tensor:
    """`(H, W, 3)` uint8 -> `(1, 3, h, w)` in [0, 1], `scale` times the base size (PIL bicubic, as in IRN)."""
    return _unit_range(bicubic.resize(pixels, (round(base[0] * scale), round(base[1] * scale))))


def image_tensor(image: np.ndarray, device: torch.device) -> Tensor:
    """`(H, W, 3)` uint8 -> `(1, 3, H, W)` float in [0, 1]."""
    return _unit_range(pixels_on(image, device))


def _unit_range(pixels: Tensor) -> Tensor:
    return pixels.permute(2, 0, 1)[None].float() / 255


def with_mirror(image: Tensor, flip: bool) -> Tensor:
    """`(1, 3, h, w)` -> the same with its mirror image behind it, `(2, 3, h, w)`, if `flip`."""
    return torch.cat([image, image.flip(-1)]) if flip else image
