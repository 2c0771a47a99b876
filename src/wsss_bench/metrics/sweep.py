"""Every background threshold from one pass over the score maps.

A pixel is foreground at threshold t if its best score is strictly above t (ties go to background, as in IRN's
argmax over [t, maps]); its class does not depend on t. Hence the joint histogram of (how many thresholds the
best score exceeds, winning class, truth) gives the confusion matrices at all thresholds, and its size does
not depend on the number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wsss_bench.metrics.functional import joint_counts
from wsss_bench.types import IGNORE

_INFINITY = 0x7C00
"""Bits of infinity in float16. Numbers >= 0 have smaller bits, in the same order as their values."""


class ImageCounts(NamedTuple):
    """The joint histogram of one image: its entries that are not zero."""

    code: np.ndarray  # (N,) int32: (exceeded * K + winner) * K + truth
    pixels: np.ndarray  # (N,) int32


class ThresholdSweep:
    """Confusion matrices at many thresholds.

    Args:
        thresholds: Increasing, in [0, 1], at most 255; compared as float32.
        num_classes: K, background included.
    """

    def __init__(self, thresholds: Sequence[float] | np.ndarray, num_classes: int) -> None:
        self.thresholds = np.asarray(thresholds, np.float32)  # (T,)
        self.num_classes = num_classes
        if not 1 <= self.thresholds.size <= 255 or not (np.diff(self.thresholds) > 0).all():
            raise ValueError(f"a sweep takes 1 to 255 increasing thresholds, got {list(thresholds)}")
        if not 0 <= self.thresholds[0] <= self.thresholds[-1] <= 1:
            raise ValueError(f"background thresholds are in [0, 1], got {thresholds[0]} to {thresholds[-1]}")
        self.counts = np.zeros(
            (self.thresholds.size + 1, num_classes, num_classes), np.int64
        )  # exceeded, winner, truth
        halves = np.arange(_INFINITY + 1, dtype=np.uint16).view(np.float16).astype(np.float32)
        self._exceeded_by_half = self._exceeded(halves)

    def update(
        self, scores: np.ndarray, classes: np.ndarray, target: np.ndarray, image_id: str = ""
    ) -> ImageCounts:
        """Count one image.

        Args:
            scores: `(K', H, W)` float16 or float32 >= 0 at the size of the image; float16 is compared without
                rounding.
            classes: `(K',)` mask values of the maps, 1..K-1. The first of equal maxima wins. Without classes
                all pixels are background.
            target: `(H, W)` uint8 in {0..K-1, 255}.
            image_id: For messages.

        Returns:
            The histogram of this image; `confusion_at` turns it into a confusion matrix.

        Raises:
            ValueError: sizes or classes do not fit, or scores are negative or not finite.
        """
        self._check(scores, classes, target, image_id)
        maps = max(len(classes), 1)
        if len(classes) == 0:
            exceeded = winner = np.zeros(target.shape, np.uint8)
        else:
            exceeded, winner = self._best(scores, image_id)
        sizes = [self.thresholds.size + 1, maps, 256]
        found = joint_counts([exceeded, winner, target], sizes)
        counted = found[:, :, : self.num_classes]
        if counted.sum(dtype=np.float64) + found[:, :, IGNORE].sum(dtype=np.float64) != target.size:
            raise ValueError(
                f"ground truth of image {image_id!r} holds values up to {target[target != IGNORE].max()}; "
                f"expected 0..{self.num_classes - 1} and {IGNORE}"
            )
        step, which, truth = np.nonzero(counted)
        values = np.asarray(classes if len(classes) else [0], np.int64)
        code = (step * self.num_classes + values[which]) * self.num_classes + truth
        counts = ImageCounts(code.astype(np.int32), counted[step, which, truth].astype(np.int32))
        self.counts.reshape(-1)[counts.code] += counts.pixels
        return counts

    def confusions(self) -> np.ndarray:
        """`(T, K, K)` int64 over all images, rows are the truth; equal to a loop over the thresholds."""
        above = np.cumsum(self.counts[::-1], axis=0)[::-1][1:].copy()  # (T, winner, truth): exceeded > t
        everything = self.counts.sum(axis=(0, 1))  # (truth,)
        above[:, 0] = everything - above[:, 1:].sum(axis=1)
        matrices: np.ndarray = above.transpose(0, 2, 1)
        return matrices

    def confusion_at(self, index: int, counts: ImageCounts) -> np.ndarray:
        """`(K, K)` int64 confusion matrix of one image at `thresholds[index]`."""
        exceeded_and_winner, truth = np.divmod(counts.code, self.num_classes)
        exceeded, winner = np.divmod(exceeded_and_winner, self.num_classes)
        predicted = np.where(exceeded > index, winner, 0)
        flat = np.bincount(
            truth * self.num_classes + predicted, weights=counts.pixels, minlength=self.num_classes**2
        )
        return flat.astype(np.int64).reshape(self.num_classes, self.num_classes)

    def _best(self, scores: np.ndarray, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Number of thresholds below the best score, and the position of its map; both `(H, W)` uint8."""
        half = scores.dtype == np.float16
        values = scores.view(np.uint16) if half else scores.astype(np.float32, copy=False)
        if half and values.max() > _INFINITY:  # -0.0 is allowed; negative, infinite or NaN is refused below
            values = np.where(scores == 0, np.float16(0), scores).view(np.uint16)
        if not (values.max() < _INFINITY if half else np.isfinite(values).all() and values.min() >= 0):
            raise ValueError(f"scores of image {image_id!r} are negative or not finite; make its seed again")
        best, winner = values[0], np.zeros(scores.shape[1:], np.uint8)
        for index in range(1, len(values)):
            better = values[index] > best
            winner[better] = index
            best = np.maximum(best, values[index])
        return (self._exceeded_by_half[best] if half else self._exceeded(best)), winner

    def _exceeded(self, scores: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.thresholds, scores, side="left").astype(np.uint8)

    def _check(self, scores: np.ndarray, classes: np.ndarray, target: np.ndarray, image_id: str) -> None:
        if len(scores) != len(classes):
            raise ValueError(f"image {image_id!r} has {len(scores)} score maps for {len(classes)} classes")
        if len(classes) and scores.shape[1:] != target.shape:
            raise ValueError(
                f"score maps of image {image_id!r} are {scores.shape[1:]} (height, width), "
                f"its ground truth is {target.shape}; make the seeds from the same images"
            )
        if len(classes) and not 1 <= np.min(classes) <= np.max(classes) < self.num_classes:
            raise ValueError(
                f"seed of image {image_id!r} has the classes {[int(c) for c in classes]}; expected values in "
                f"1..{self.num_classes - 1}. Was it made with another class list?"
            )
