"""Augmentations: albumentations pipelines that depend on a key `(random seed, epoch, index)` only.

There are six kinds:

- `irn` (Ahn et al., CVPR 2019; also PSA, SEAM, CLIMS): long side resized to a random length, flip, random
  crop with random placement.
- `toco` (Ru et al., CVPR 2023; also SeCo, DuPL): random scale, flip, crop, colour jitter, grey, blur.
- `scale` (DeepLab, Chen et al., TPAMI 2018; also IRNet and AffinityNet): random scale, flip, crop, padding
  below and to the right, and optional colour jitter.
- `square` (MCIS, Sun et al., ECCV 2020): the whole image resized to a square regardless of its aspect ratio,
  with the bilinear filter of PIL, and optional colour jitter. Only this kind has self views.
- `random_resized_crop` (GoogLeNet's, as in torchvision and timm; TCL, Cha et al., CVPR 2023; CoDe, Wu et al.,
  CVPR 2024): a random box of the image resized to a square regardless of its aspect ratio, flip, and
  optional RandAugment and random erasing. It fills the crop: nothing is padded.
- `resize`: the whole image without augmentation, for validation.

A transform of your own derives from `Transform` (docs/recipes.md).

Differences from the authors' code: images are enlarged with OpenCV's bicubic filter and reduced by area
averaging. IRN uses PIL's bicubic filter, which is wider when it reduces, and DeepLab OpenCV's bilinear one.
ToCo flips a second time after it has stored the position of the image in the crop; there is no second flip
here. IRNet places a small image anywhere in the crop, `scale` at the top left.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wsss_bench.artifacts.data_reads import CROP_SIZE
from wsss_bench.data.own_class import OwnClass, readable
from wsss_bench.data.timm_augmentation import TimmAugmentation
from wsss_bench.ranges import check_range, check_ranges
from wsss_bench.types import IGNORE, IMAGENET_MEAN, IMAGENET_STD

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no request for its latest version at import
import albumentations as A
import cv2

cv2.setNumThreads(0)  # loading already uses one process per core

_RAND_AUGMENT = re.compile(r"rand(-(m|n|mmax|inc)\d+|-(p|mstd)\d+(\.\d+)?)*")


KindName = Literal["irn", "toco", "scale", "square", "random_resized_crop", "resize"]
"""Name of a kind of transform."""


@readable
class OwnTransform(OwnClass):
    """A transform of a user's own, as `data.transform.kind` names it."""

    word = "kind of transform"
    names = get_args(KindName)
    given = ("config",)

    @staticmethod
    def base() -> type:
        return Transform


@dataclass(frozen=True)
class TransformConfig:
    """Augmentation of the training images.

    Attributes:
        kind: `irn`, `toco`, `scale`, `square`, `random_resized_crop`, or `resize` (no augmentation); or a
            class of your own, which may use all other settings.
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
        area: Range of the share of the image's area that the box has (CoDe: 0.9 to 1, TCL: 0.08 to 1); its
            aspect ratio is between 3/4 and 4/3. If ten drawn boxes do not fit, it is the largest central box
            of such a ratio. Used by `random_resized_crop`.
        rand_augment: RandAugment in timm's notation (TCL: `rand-m9-mstd0.5-inc1`). It moves pixels, so that
            such images have no masks. Needs `random_resized_crop`.
        random_erasing: Probability that a rectangle is replaced by noise (TCL: 0.25). Needs
            `random_resized_crop`.
        padding: Colour around an image that does not fill the crop: `mean`, that of ImageNet, which
            normalisation makes 0 (IRN, CLIMS, DeepLab); or `black` before jitter and blur (ToCo, WeCLIP,
            ExCEL).
    """

    kind: KindName | OwnTransform = "irn"
    crop_size: int = CROP_SIZE
    resize_long: tuple[int, int] = (320, 640)
    scale: tuple[float, float] = (0.5, 2.0)
    scale_step: float | None = None
    color_jitter: tuple[float, float, float, float] | None = None
    self_scales: tuple[float, ...] | None = None
    area: tuple[float, float] = (0.08, 1.0)
    rand_augment: str | None = None
    random_erasing: float = 0.0
    padding: Literal["mean", "black"] = "mean"

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
        own = isinstance(self.kind, OwnTransform)
        if self.self_scales is not None and self.kind != "square" and not own:
            raise ValueError(
                f"transform.self_scales need kind: square; got {self.self_scales} and kind {self.kind}"
            )
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(
                f"transform.area is {list(self.area)}; expected two shares of the image in (0, 1], the "
                "smaller first"
            )
        if self.rand_augment is not None and not _RAND_AUGMENT.fullmatch(self.rand_augment):
            raise ValueError(
                f"transform.rand_augment is {self.rand_augment!r}; expected timm's notation, for instance "
                "rand-m9-mstd0.5-inc1, or null"
            )
        if not 0 <= self.random_erasing <= 1:
            raise ValueError(
                f"transform.random_erasing is {self.random_erasing}; expected a probability in [0, 1]"
            )
        if self.uses_timm and self.kind != "random_resized_crop" and not own:
            raise ValueError(
                "transform.rand_augment and transform.random_erasing need kind: random_resized_crop; "
                f"got kind {self.kind}"
            )

    @property
    def uses_timm(self) -> bool:
        """Whether steps of timm follow crop and flip."""
        return self.rand_augment is not None or self.random_erasing > 0


class Crop(NamedTuple):
    """A transformed image."""

    image: Tensor  # (3, H, W) float in [0, 1], erased pixels outside of it; `config.padding` around it
    valid: Tensor  # (H, W) bool, False on padding
    mask: Tensor | None  # (H, W) int64 in {0..C, 255}, 255 on padding


def build_transform(config: TransformConfig) -> Transform:
    """The transform of this package or of a user that `config.kind` names."""
    if isinstance(config.kind, OwnTransform):
        own: Transform = config.kind.build(config)
        return own
    return Transform(config)


def steps_of(kind: KindName, config: TransformConfig) -> list[A.BasicTransform]:
    """The steps of albumentations of a kind of this package, for an own transform that has more of them."""
    return _STEPS[kind](config)


class Transform:
    """Applies a `TransformConfig`.

    An own transform overrides `steps`, or `__call__`; its constructor may have arguments besides `config`.
    """

    def __init__(self, config: TransformConfig) -> None:
        self.config = config
        self._timm = None
        if config.uses_timm:
            self._timm = TimmAugmentation(
                config.rand_augment, config.random_erasing, IMAGENET_MEAN, IMAGENET_STD
            )

    def steps(self) -> list[A.BasicTransform]:
        """Steps of albumentations; they draw from the key of the image, whatever they are."""
        assert not isinstance(self.config.kind, OwnTransform), "an own transform defines its steps"
        return steps_of(self.config.kind, self.config)

    @cached_property
    def _pipeline(self) -> A.Compose:
        return A.Compose(self.steps(), additional_targets={"padding": "mask"})

    def __call__(self, image: np.ndarray, key: tuple[int, ...], mask: np.ndarray | None = None) -> Crop:
        """Transform one image.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            key: `(random seed, epoch, index, ...)`, non-negative; a key gives the same result in every
                process.
            mask: `(H, W)` uint8, transformed like the image.

        Raises:
            ValueError: a mask with RandAugment, which would move the image without it.
        """
        if mask is not None and self.config.rand_augment is not None:
            raise ValueError(
                "transform.rand_augment moves images without their masks; remove it where training uses masks"
            )
        seeds = np.random.SeedSequence(key).generate_state(4, np.uint64)
        # One random generator for all steps: Compose.set_random_seed gives each step its own generator with
        # the same random seed, so the flip would depend on the drawn size.
        self._pipeline.set_random_state(np.random.default_rng(seeds[0]), random.Random(int(seeds[1])))
        targets = {"image": image, "padding": np.zeros(image.shape[:2], np.uint8)}
        if mask is not None:
            targets["mask"] = mask
        result = self._pipeline(**targets)
        picture = result["image"]
        if self._timm is not None:
            picture = self._timm.rand_augment(picture, int(seeds[2] >> 32))
        valid = torch.from_numpy(np.ascontiguousarray(result["padding"])).eq(0)
        pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float().div_(255)
        if self._timm is not None:
            pixels = self._timm.erase(pixels, int(seeds[3] >> 32))
        if self.config.padding == "mean" and not valid.all():  # in float: no 8-bit colour is the mean
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


def _crop(config: TransformConfig, position: Literal["random", "top_left"] = "random") -> A.RandomCrop:
    """Random crop; along an axis on which the image is smaller than the crop it is padded instead."""
    size, padding = config.crop_size, {"fill": _COLOURS[config.padding], "fill_mask": IGNORE}
    return A.RandomCrop(size, size, pad_if_needed=True, pad_position=position, **padding)


def _rescale(low: float, high: float) -> A.RandomScale:
    return A.RandomScale((low - 1, high - 1), p=1.0, **_RESIZING)


def _irn(config: TransformConfig) -> list[A.BasicTransform]:
    low, high = config.resize_long
    sides = list(range(low, high + 1))
    return [
        A.LongestMaxSize(sides, **_RESIZING),
        A.HorizontalFlip(p=0.5),
        _crop(config),
    ]


def _toco(config: TransformConfig) -> list[A.BasicTransform]:
    return [
        _rescale(*config.scale),
        A.HorizontalFlip(p=0.5),
        _crop(config),
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
        _crop(config, "top_left"),
    ]
    return steps + _color_jitter(config)


def _square(config: TransformConfig) -> list[A.BasicTransform]:
    squash, squash_mask = (
        partial(_squash, side=config.crop_size, resample=resample)
        for resample in (Image.Resampling.BILINEAR, Image.Resampling.NEAREST)
    )
    squashed = A.Lambda(name="squash", image=squash, mask=squash_mask, p=1.0)
    return [squashed, *_color_jitter(config)]


class _RandomResizedCrop(A.RandomResizedCrop):
    """Resizes with PIL's bilinear filter as torchvision and timm do; OpenCV's aliases where it reduces."""

    def apply(self, img: np.ndarray, crop_coords: tuple[int, int, int, int], **_: Any) -> np.ndarray:
        return self._resized(img, crop_coords, Image.Resampling.BILINEAR)

    def apply_to_mask(self, mask: np.ndarray, crop_coords: tuple[int, int, int, int], **_: Any) -> np.ndarray:
        return self._resized(mask, crop_coords, Image.Resampling.NEAREST)

    def _resized(
        self, image: np.ndarray, box: tuple[int, int, int, int], resample: Image.Resampling
    ) -> np.ndarray:
        left, top, right, bottom = box
        return _squash(image[top:bottom, left:right], self.size[0], resample)


def _random_resized_crop(config: TransformConfig) -> list[A.BasicTransform]:
    side = (config.crop_size, config.crop_size)
    return [_RandomResizedCrop(side, scale=config.area, ratio=(3 / 4, 4 / 3)), A.HorizontalFlip(p=0.5)]


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
    size, padding = config.crop_size, {"fill": _COLOURS[config.padding], "fill_mask": IGNORE}
    return [
        A.LongestMaxSize(size, **_RESIZING),
        A.PadIfNeeded(size, size, position="top_left", **padding),
    ]


_RESIZING: dict[str, Any] = {
    "interpolation": cv2.INTER_CUBIC,
    "area_for_downscale": "image",
    "mask_interpolation": cv2.INTER_NEAREST_EXACT,  # INTER_NEAREST shifts masks by up to half a pixel
}
_COLOURS = {"mean": tuple(round(255 * channel) for channel in IMAGENET_MEAN), "black": (0, 0, 0)}
"""Of the padding of the 8-bit image; the mean as near as 8 bits allow, so that blur leaves the border."""
_STEPS: dict[KindName, Callable[[TransformConfig], list[A.BasicTransform]]] = {
    "irn": _irn,
    "toco": _toco,
    "scale": _scale,
    "square": _square,
    "random_resized_crop": _random_resized_crop,
    "resize": _resize,
}
