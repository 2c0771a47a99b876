"""Data types that data sources, methods and stages exchange.

Images are RGB. `(H, W)` are image pixels, `(h, w)` a feature grid, `B` images of a batch, `C` foreground
classes. A label vector has `C` entries. A mask holds 0 for background, `c + 1` for class `c` and 255 for
pixels to ignore.

Batches are named tuples: Lightning moves them to a device and PyTorch pins their memory without losing their
type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:  # commands that start without torch import this module
    from torch import Tensor

IGNORE = 255
"""Mask value of pixels that are left out of losses and scores."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the pixels of ImageNet, RGB in [0, 1]."""

ViewName = Literal["image", "pair", "group", "caption", "mask"]
"""Value of `data.view`: what a training item is."""


class Batch(Protocol):
    """What all training batches have in common, those of own views too: all of them are named tuples."""

    @property
    def image_ids(self) -> list[str]:
        """Ids of all images of the batch."""
        ...


class ImageBatch(NamedTuple):
    """Images with image-level labels."""

    image_ids: list[str]
    image: Tensor  # (B, 3, H, W) float in [0, 1]; a method normalises for its own backbones
    labels: Tensor  # (B, C) float, multi-hot
    valid: Tensor  # (B, H, W) bool, False on padding
    label_counts: Sequence[int] | None = None  # labels of each image; known on the host: nothing waits for it

    @property
    def num_labels(self) -> Sequence[int]:
        """Number of labels of each image; read from the device if the view does not give it."""
        if self.label_counts is None:
            return self.labels.count_nonzero(dim=1).tolist()
        return self.label_counts


class PairBatch(NamedTuple):
    """Pairs of images that share at least one class."""

    first: ImageBatch
    second: ImageBatch
    # name ("flip", "0.75x", "2x") -> (B, 3, h, w): the first images mirrored or resized, without jitter
    self_views: dict[str, Tensor]

    @property
    def image_ids(self) -> list[str]:
        return [*self.first.image_ids, *self.second.image_ids]


class GroupBatch(NamedTuple):
    """Groups of three images that share at least one class."""

    images: tuple[ImageBatch, ImageBatch, ImageBatch]

    @property
    def image_ids(self) -> list[str]:
        return [image_id for batch in self.images for image_id in batch.image_ids]


class CaptionBatch(NamedTuple):
    """Images with one caption each."""

    image_ids: list[str]
    image: Tensor  # (B, 3, H, W) float in [0, 1]
    caption: list[str]
    valid: Tensor  # (B, H, W) bool


class MaskBatch(NamedTuple):
    """Images with masks: ground truth for full supervision, pseudo masks for a segmenter."""

    image_ids: list[str]
    image: Tensor  # (B, 3, H, W) float in [0, 1]
    mask: Tensor  # (B, H, W) int64 in {0..C, 255}; padding is 255
    valid: Tensor  # (B, H, W) bool


def view_of(batch_type: type[Batch]) -> str:
    """The `data.view` that yields batches of a type, for messages."""
    known: dict[type, ViewName] = {
        ImageBatch: "image",
        PairBatch: "pair",
        GroupBatch: "group",
        CaptionBatch: "caption",
        MaskBatch: "mask",
    }
    return known.get(batch_type, f"{{class_path: <a view with batch_type = {batch_type.__name__}>}}")


class Reference(NamedTuple):
    """Another image of the same class, for methods that compare images at inference."""

    image_id: str
    image: np.ndarray  # (H, W, 3) uint8
    labels: np.ndarray  # (C,) float32, multi-hot
    for_class: int  # class it was drawn for, 0..C-1; an image that was drawn for two classes is listed twice


class InferenceSample(NamedTuple):
    """One image at its original size."""

    image_id: str
    image: np.ndarray  # (H, W, 3) uint8
    labels: np.ndarray | None  # (C,) float32 multi-hot; None where the method must not see labels
    references: tuple[Reference, ...] = ()


class ScoreMaps(NamedTuple):
    """Seeds of one image. On disk, scores are rounded to 200 levels (`artifacts.seed_levels`)."""

    image_id: str
    classes: np.ndarray  # (K,) uint8 mask values: 1..C
    scores: np.ndarray  # (K, h, w) float16, >= 0, each map divided by its maximum
    size: tuple[int, int]  # (H, W) of the original image
    # (K, ceil(H / 4), ceil(W / 4)) float16: scales summed at stride 4, input of random walks
    strided: np.ndarray | None = None
    # (h, w) float16 in [0, 1]: the method's own background score, where it has one; scores that do not exceed
    # it are 0
    background: np.ndarray | None = None
