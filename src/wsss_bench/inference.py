"""From one image at its own size to the score maps of a method: scales, flips, windows, padding, label gating and peak
normalisation live here, once for all methods.

Seeds follow IRN's `make_cam` (pipeline of Ahn et al., CVPR 2019): for every scale the image and its mirror, activations
un-mirrored and added, enlarged, summed over scales, gated by the image labels, divided by the peak of each class.
Segmentation is the mean of softmax probabilities over scales and mirrors, always at the full size of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.types import InferenceSample, ScoreMaps

Product = Literal["seed", "segmentation"]
STRIDE = 4
"""Stride of the second set of seed maps, which random walks read (IRN)."""
PEAK_EPSILON = 1e-5
"""Added to the maximum of a seed map before dividing by it (IRN)."""


@dataclass(frozen=True)
class InferenceConfig:
    """How an image is shown to a method.

    Args:
        scales: Scales of the seeds, relative to the (possibly resized) image.
        flip: Show the mirror image too.
        output_stride: A map of a network with this stride is enlarged to the next multiple of it and cropped at the top
            left (IRN); used where `pad_to` is not set.
        pad_to: Pad the image to a multiple of this (patch size), half on each side; maps are cropped accordingly.
        short_side: Resize the image so that its short side has this many pixels, keeping the ratio. None: its own size.
        long_side: Limit on the long side when resizing by `short_side`.
        window: Side of a sliding window in pixels. None: the whole image at once.
        window_stride: Step of the window; the last one is shifted back inside, overlapping scores are averaged.
        references: Other images of each class of the image that a method is shown along with it (seeds of MCIS), drawn with
            replacement from the training images.
        multi_scales: Scales of the multi-scale segmentation read-out, with mirror images. Set by the protocol of a data set.
        background: False predicts classes only, for a data set without background. Set by the source of a data set.
    """

    scales: tuple[float, ...] = (1.0, 0.5, 1.5, 2.0)
    flip: bool = True
    output_stride: int = 16
    pad_to: int | None = None
    short_side: int | None = None
    long_side: int = 2048
    window: int | None = None
    window_stride: int | None = None
    references: int = 0
    multi_scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    background: bool = True

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0 or not self.multi_scales or min(self.multi_scales) <= 0:
            raise ValueError(f"inference scales are positive; got {self.scales} and {self.multi_scales}")
        if (self.window is None) != (self.window_stride is None):
            raise ValueError("a sliding window needs both inference.window and inference.window_stride")
        if self.references < 0:
            raise ValueError(
                f"inference.references counts images of a class, so it is 0 or more; got {self.references}"
            )


class Predicts(Protocol):
    """What inference needs of a method."""

    @property
    def device(self) -> torch.device: ...

    def seed_maps(self, image: Tensor, labels: Tensor | None, references: Sequence[Any]) -> Tensor: ...

    def segmentation_logits(self, image: Tensor) -> Tensor: ...


def predict(method: Predicts, sample: InferenceSample, product: Product, config: InferenceConfig) -> Any:
    """Seeds (`ScoreMaps`) or segmentation probabilities (`{"ss", "ms"}` -> `(1 + C, H, W)` float32) of one image."""
    if product == "seed":
        return seed_score_maps(method, sample, config)
    return segmentation_probabilities(method, sample, config)


def seed_score_maps(method: Predicts, sample: InferenceSample, config: InferenceConfig) -> ScoreMaps:
    """Multi-scale seeds of the labelled classes of one image, at full size and at stride 4, each from the network's own maps.

    Raises:
        ValueError: the sample has no labels; seeds are made where image labels are given.
    """
    if sample.labels is None:
        raise ValueError(
            f"seeds of image {sample.image_id!r} need its image labels; set predict labels, or predict masks"
        )
    height, width = sample.image.shape[:2]
    classes = np.flatnonzero(sample.labels)
    if classes.size == 0:
        empty = np.zeros((0, 1, 1), np.float16)
        return ScoreMaps(sample.image_id, np.zeros(0, np.uint8), empty, (height, width), empty)
    labels = torch.as_tensor(sample.labels, device=method.device)[None]
    keep = torch.as_tensor(classes, device=method.device)

    def forward(image: Tensor) -> Tensor:
        return method.seed_maps(image, labels.expand(len(image), -1), sample.references)[:, keep]

    base = _base_size(height, width, config)
    full: list[Tensor] = []
    strided: list[Tensor] = []
    for scale in config.scales:
        image = _to_tensor(sample.image, base, scale, method.device)
        maps = _maps_of(forward, _with_mirror(image, config.flip), config)
        maps = maps[0] if not config.flip else maps[0] + maps[1].flip(-1)  # (K, h, w)
        full.append(enlarge(maps, (height, width), config))
        strided.append(_resize(maps, [(n - 1) // STRIDE + 1 for n in (height, width)]))
    scores, coarse = (
        normalize_peaks(torch.stack(maps).sum(dim=0)).half().cpu().numpy() for maps in (full, strided)
    )
    return ScoreMaps(sample.image_id, (classes + 1).astype(np.uint8), scores, (height, width), coarse)


def segmentation_probabilities(
    method: Predicts, sample: InferenceSample, config: InferenceConfig
) -> dict[str, np.ndarray]:
    """Probabilities at full size, without image labels: `ss` (scale 1, no mirror) and `ms`, from one pass over the scales."""
    height, width = sample.image.shape[:2]
    base = _base_size(height, width, config)
    mean: Tensor | None = None
    single: Tensor | None = None
    for scale in sorted({1.0, *config.multi_scales}):
        image = _to_tensor(sample.image, base, scale, method.device)
        in_mean = scale in config.multi_scales
        logits = _maps_of(method.segmentation_logits, _with_mirror(image, in_mean), config)
        logits = enlarge(logits, (height, width), config)
        if not config.background:
            logits = torch.cat([torch.full_like(logits[:, :1], -torch.inf), logits[:, 1:]], dim=1)
        probabilities = logits.softmax(dim=1)  # (1 or 2, 1 + C, H, W)
        if scale == 1.0:
            single = probabilities[0]
        if in_mean:
            both = probabilities[0] + probabilities[1].flip(-1)
            mean = both if mean is None else mean + both
    assert single is not None
    assert mean is not None
    mean = mean / (2 * len(config.multi_scales))
    return {"ss": single.cpu().numpy(), "ms": mean.cpu().numpy()}


def normalize_peaks(maps: Tensor) -> Tensor:
    """Divide each map of `(K, h, w)`, >= 0, by its maximum plus 1e-5; values end in [0, 1)."""
    return maps / (maps.amax(dim=(1, 2), keepdim=True) + PEAK_EPSILON)


def enlarge(maps: Tensor, size: tuple[int, int], config: InferenceConfig) -> Tensor:
    """Maps `([N,] K, h, w)` to the size of the image, bilinear (align_corners=False).

    With `pad_to` or windows the maps already cover exactly the image. Otherwise the map of a strided network covers the next
    multiple of its stride: it is enlarged to that and cropped at the top left, which is not the same as a rescale.
    """
    height, width = size
    if config.pad_to is not None or config.window is not None:
        return _resize(maps, size)
    stride = config.output_stride
    return _resize(maps, (stride * math.ceil(height / stride), stride * math.ceil(width / stride)))[
        ..., :height, :width
    ]


def _maps_of(forward: Callable[[Tensor], Tensor], image: Tensor, config: InferenceConfig) -> Tensor:
    """Maps of one batch of images: as the network gives them, or (with windows or padding) at the images' size."""
    if config.window is not None and config.window_stride is not None:
        return slide(
            lambda crop: _padded(forward, crop, config.pad_to or 1).float(),
            image,
            config.window,
            config.window_stride,
        )
    maps = _padded(forward, image, config.pad_to) if config.pad_to else forward(image)
    return maps.float()  # under bf16 autocast, scales are summed and normalised in full precision


def slide(forward: Callable[[Tensor], Tensor], image: Tensor, window: int, stride: int) -> Tensor:
    """Sliding window over `(N, 3, H, W)` -> `(N, K, H, W)`; `forward` gives maps at the size of its crop.

    Windows lie at multiples of `stride`; the last of a row or column is shifted back inside the image. Overlapping scores are
    averaged. An image smaller than the window is shown whole.
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


def _padded(forward: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    """Zero-pad to a multiple, half on each side (the smaller half first), and return maps at the size of `image`."""
    height, width = image.shape[-2:]
    extra_rows, extra_columns = -height % multiple, -width % multiple
    top, left = extra_rows // 2, extra_columns // 2
    padded = F.pad(image, (left, extra_columns - left, top, extra_rows - top))
    maps = _resize(forward(padded), padded.shape[-2:])
    return maps[..., top : top + height, left : left + width]


def _base_size(height: int, width: int, config: InferenceConfig) -> tuple[int, int]:
    if config.short_side is None:
        return height, width
    factor = min(config.short_side / min(height, width), config.long_side / max(height, width))
    return int(height * factor + 0.5), int(width * factor + 0.5)


def _to_tensor(image: np.ndarray, base: tuple[int, int], scale: float, device: torch.device) -> Tensor:
    """`(H, W, 3)` uint8 -> `(1, 3, h, w)` in [0, 1] at `scale` times the base size (PIL bicubic on bytes, as in IRN)."""
    size = (round(base[0] * scale), round(base[1] * scale))
    if size != image.shape[:2]:
        image = np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))
    tensor = torch.from_numpy(np.array(image)).to(device)
    return tensor.permute(2, 0, 1)[None].float() / 255


def _with_mirror(image: Tensor, flip: bool) -> Tensor:
    return torch.cat([image, image.flip(-1)]) if flip else image


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    batched = maps if maps.ndim == 4 else maps[None]
    resized = F.interpolate(batched, tuple(size), mode="bilinear", align_corners=False)
    return resized if maps.ndim == 4 else resized[0]
