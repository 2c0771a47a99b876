"""The nouns that data, methods and stages exchange.

Images are RGB. `(H, W)` are image pixels, `(h, w)` a feature grid; `C` counts foreground classes. A label vector has `C`
entries; a mask holds 0 for background, `c + 1` for class `c` and 255 for pixels to ignore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # the nouns are read by code that must start without torch
    from torch import Tensor

IGNORE = 255
"""Mask value of pixels that count for nothing."""


class ImageBatch(NamedTuple):
    """Images with image-level labels."""

    image_ids: list[str]
    image: Tensor  # (B, 3, H, W) float in [0, 1]; a method normalises for its own backbones
    labels: Tensor  # (B, C) float, multi-hot
    valid: Tensor  # (B, H, W) bool, False on padding


class PairBatch(NamedTuple):
    """Two images at a time that share at least one class."""

    first: ImageBatch
    second: ImageBatch
    self_views: dict[
        str, Tensor
    ]  # name ("flip", "0.75x", "2x") -> (B, 3, h, w) of the first images without colour jitter


class GroupBatch(NamedTuple):
    """Three images at a time that share at least one class."""

    images: tuple[ImageBatch, ImageBatch, ImageBatch]


class CaptionBatch(NamedTuple):
    """Images with one caption each."""

    image_ids: list[str]
    image: Tensor  # (B, 3, H, W) float in [0, 1]
    caption: list[str]
    valid: Tensor  # (B, H, W) bool


class MaskBatch(NamedTuple):
    """Images with masks: true ones for full supervision, pseudo masks for a segmenter."""

    image_ids: list[str]
    image: Tensor  # (B, 3, H, W) float in [0, 1]
    mask: Tensor  # (B, H, W) int64 in {0..C, 255}; padding is 255
    valid: Tensor  # (B, H, W) bool


class Reference(NamedTuple):
    """Another image of the same class, shown to methods that compare images at inference."""

    image_id: str
    image: np.ndarray  # (H, W, 3) uint8
    labels: np.ndarray  # (C,) float32, multi-hot
    drawn_for: int  # the class that it was drawn for, 0..C-1; an image drawn for two classes comes twice


class InferenceSample(NamedTuple):
    """One image at its own size."""

    image_id: str
    image: np.ndarray  # (H, W, 3) uint8
    labels: np.ndarray | None  # (C,) float32 multi-hot; None where labels must not be known
    references: tuple[Reference, ...] = ()


class ScoreMaps(NamedTuple):
    """One image's result, and the content of a seed file."""

    image_id: str
    classes: np.ndarray  # (K,) uint8 mask values: 1..C
    scores: np.ndarray  # (K, h, w) float16, >= 0, each map divided by its maximum
    size: tuple[int, int]  # (H, W) of the original image
    strided: np.ndarray | None = (
        None  # (K, ceil(H / 4), ceil(W / 4)) float16, fused at this size: what a random walk reads
    )
