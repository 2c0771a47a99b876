"""Augmentations: albumentations pipelines that depend on a key `(random seed, epoch, index)` only.

There are five kinds of transform:

- `irn` (Ahn et al., CVPR 2019; also PSA, SEAM, CLIMS): long side resized to a random length, flip, random
  crop with random placement.
- `toco` (Ru et al., CVPR 2023; also SeCo, DuPL): random scale, flip, crop, colour jitter, grey, blur.
- `scale` (DeepLab, Chen et al., TPAMI 2018; also IRNet and AffinityNet): random scale, flip, crop, padding
  below and to the right, and optional colour jitter.
- `square` (MCIS, Sun et al., ECCV 2020): the whole image resized to a square regardless of its aspect ratio,
  with the bilinear filter of PIL, and optional colour jitter. Only this kind has self views.
- `resize`: the whole image without augmentation, for validation.

Differences from the authors' code: images are enlarged with OpenCV's bicubic filter and reduced by area
averaging. IRN uses PIL's bicubic filter, which is wider when it reduces, and DeepLab OpenCV's bilinear one.
ToCo flips a second time after it has stored the position of the image in the crop; there is no second flip
here. IRNet places a small image anywhere in the crop, `scale` at the top left.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wsss_bench.ranges import check_range, check_ranges
from wsss_bench.types import IGNORE

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no request for its latest version at import
import albumentations as A
import cv2

cv2.setNumThreads(0)  # loading already uses one process per core

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Colour of padding; it is 0 after the normalisation of the backbone, as in the papers."""


@dataclass(frozen=True)
class TransformConfig:
    """Augmentation of the training images.

    Attributes:
        kind: `irn`, `toco`, `scale`, `square`, or `resize` (no augmentation).
        crop_size: Side of the square output, in pixels.
        resize_long: Range of the long side in pixels, both ends included; used by `irn`.
        scale: Range of the scale factor; used by `toco` and `scale`.
        scale_step: Draw one of the factors `low, low + scale_step, ..., high` instead of any value of the
            range (DeepLab: 0.25); used by `scale`.
        color_jitter: Maximal relative change of brightness, contrast and saturation, and change of hue as a
            fraction of the colour circle (AffinityNet of PSA: 0.3, 0.3, 0.3, 0.1); used by `scale` and
            `square`.
        self_scales: Scales, relative to `crop_size`, of the self views: further squares of the first image of
            a pair, in addition to its mirror image, all without jitter (MCIS: 0.75 and 2). null: no self
            views. Used by `square` in the pair view.
    """

    kind: Literal["irn", "toco", "scale", "square", "resize"] = "irn"
    crop_size: int = 512
    resize_long: tuple[int, int] = (320, 640)
    scale: tuple[float, float] = (0.5, 2.0)
    scale_step: float | None = None
    color_jitter: tuple[float, float, float, float] | None = None
    self_scales: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_range("transform.crop_size", self.crop_size, 1)
        check_range("transform.scale_step", self.scale_step, above=0)
        check_ranges("transform.color_jitter", self.color_jitter, 0)
        check_ranges("transform.self_scales", self.self_scales, above=0, empty=True)
        for name, (low, high) in (("resize_long", self.resize_long), ("scale", self.scale)):
            check_range(f"transform.{name}[1]", high, above=0)
            if not 0 < low <= high:
                raise ValueError(
                    f"transform.{name} is [{low}, {high}]; expected two positive numbers, the smaller first"
                )
        if self.self_scales is not None and self.kind != "square":
            raise ValueError(
                f"transform.self_scales need kind: square; got {self.self_scales} and kind {self.kind}"
            )


class Crop(NamedTuple):
    """A transformed image."""

    image: Tensor  # (3, H, W) float in [0, 1], IMAGENET_MEAN on padding
    valid: Tensor  # (H, W) bool, False on padding
    mask: Tensor | None  # (H, W) int64 in {0..C, 255}, 255 on padding


class Transform:
    """Applies a `TransformConfig`."""

    def __init__(self, config: TransformConfig) -> None:
        self.config = config
        self._pipeline = A.Compose(_STEPS[config.kind](config), additional_targets={"padding": "mask"})

    def __call__(self, image: np.ndarray, key: tuple[int, ...], mask: np.ndarray | None = None) -> Crop:
        """Transform one image.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            key: `(random seed, epoch, index, ...)`, non-negative; a key gives the same result in every
                process.
            mask: `(H, W)` uint8, transformed like the image.
        """
        seeds = np.random.SeedSequence(key).generate_state(2, np.uint64)
        # One random generator for all steps: Compose.set_random_seed gives each step its own generator with
        # the same random seed, so the flip would depend on the drawn size.
        self._pipeline.set_random_state(np.random.default_rng(seeds[0]), random.Random(int(seeds[1])))
        targets = {"image": image, "padding": np.zeros(image.shape[:2], np.uint8)}
        if mask is not None:
            targets["mask"] = mask
        result = self._pipeline(**targets)
        valid = torch.from_numpy(np.ascontiguousarray(result["padding"])).eq(0)
        pixels = torch.from_numpy(np.ascontiguousarray(result["image"].transpose(2, 0, 1))).float().div_(255)
        if not valid.all():  # in float, since no 8-bit colour is exactly the mean
            pixels = torch.where(valid, pixels, torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        moved = None if mask is None else torch.from_numpy(result["mask"].astype(np.int64))
        return Crop(pixels, valid, moved)

    def self_views(self, image: np.ndarray) -> dict[str, Tensor]:
        """Self views of an `(H, W, 3)` uint8 image by name, each `(3, side, side)` in [0, 1]; not random."""
        scales = self.config.self_scales
        if scales is None:
            return {}
        side = self.config.crop_size
        views = {"flip": _squash(image, side)[:, ::-1]}
        views |= {f"{scale:g}x": _squash(image, round(side * scale)) for scale in scales}
        return {
            name: torch.from_numpy(np.ascontiguousarray(view.transpose(2, 0, 1))).float().div_(255)
            for name, view in views.items()
        }


def _crop(size: int, position: Literal["random", "top_left"] = "random") -> A.RandomCrop:
    """Random crop; along an axis on which the image is smaller than the crop it is padded instead."""
    return A.RandomCrop(size, size, pad_if_needed=True, pad_position=position, fill=_FILL, fill_mask=IGNORE)


def _rescale(low: float, high: float) -> A.RandomScale:
    return A.RandomScale((low - 1, high - 1), p=1.0, **_RESIZING)


def _irn(config: TransformConfig) -> list[A.BasicTransform]:
    low, high = config.resize_long
    sides = list(range(low, high + 1))
    return [
        A.LongestMaxSize(sides, **_RESIZING),
        A.HorizontalFlip(p=0.5),
        _crop(config.crop_size),
    ]


def _toco(config: TransformConfig) -> list[A.BasicTransform]:
    return [
        _rescale(*config.scale),
        A.HorizontalFlip(p=0.5),
        _crop(config.crop_size),
        A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1), p=0.8),
        A.ToGray(p=0.2),
        A.GaussianBlur(blur_limit=0, sigma_limit=(0.1, 2.0), p=1.0),
    ]


def _scale(config: TransformConfig) -> list[A.BasicTransform]:
    low, high = config.scale
    factors = [] if config.scale_step is None else np.arange(low, high + 1e-6, config.scale_step).tolist()
    steps = [
        A.OneOf([_rescale(factor, factor) for factor in factors], p=1.0) if factors else _rescale(low, high),
        A.HorizontalFlip(p=0.5),
        _crop(config.crop_size, "top_left"),
    ]
    return steps + _color_jitter(config)


def _square(config: TransformConfig) -> list[A.BasicTransform]:
    squash, squash_mask = (
        partial(_squash, side=config.crop_size, resample=resample)
        for resample in (Image.Resampling.BILINEAR, Image.Resampling.NEAREST)
    )
    squashed = A.Lambda(name="squash", image=squash, mask=squash_mask, p=1.0)
    return [squashed, *_color_jitter(config)]


def _squash(
    image: np.ndarray, side: int, resample: Image.Resampling = Image.Resampling.BILINEAR, **_: Any
) -> np.ndarray:
    """Resize `(H, W[, 3])` uint8 to `(side, side[, 3])` regardless of the aspect ratio."""
    return np.array(Image.fromarray(image).resize((side, side), resample))


def _color_jitter(config: TransformConfig) -> list[A.BasicTransform]:
    if config.color_jitter is None:
        return []
    *relative, hue = config.color_jitter
    return [A.ColorJitter(*((1 - change, 1 + change) for change in relative), (-hue, hue), p=1.0)]


def _resize(config: TransformConfig) -> list[A.BasicTransform]:
    size = config.crop_size
    return [
        A.LongestMaxSize(size, **_RESIZING),
        A.PadIfNeeded(size, size, position="top_left", fill=_FILL, fill_mask=IGNORE),
    ]


_RESIZING: dict[str, Any] = {
    "interpolation": cv2.INTER_CUBIC,
    "area_for_downscale": "image",
    "mask_interpolation": cv2.INTER_NEAREST_EXACT,  # INTER_NEAREST shifts masks by up to half a pixel
}
# padding of the 8-bit image; with black, blur would darken the border of the image
_FILL = tuple(round(255 * channel) for channel in IMAGENET_MEAN)
_STEPS = {"irn": _irn, "toco": _toco, "scale": _scale, "square": _square, "resize": _resize}
