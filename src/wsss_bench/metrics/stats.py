"""Spread over random seeds, and the paired bootstrap over images (Efron & Tibshirani, 1993, ch. 16).

numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wsss_bench.metrics.functional import iou_from_sums, mean_over_present
from wsss_bench.metrics.per_image import PerImageConfusions

LEVEL = 95
"""Probability mass of an interval, percent."""
BLOCK = 50
"""Number of resampled image sets in memory at a time."""


class Summary(NamedTuple):
    """A score over random seeds."""

    mean: float
    std: float | None  # sample standard deviation (ddof 1); None for one run
    n: int  # number of runs


class ResampledMIoU(NamedTuple):
    """mIoU of a method on resampled image sets."""

    image_ids: list[str]  # the images that the sets are drawn from, sorted
    num_classes: int  # K, background included
    miou: np.ndarray  # (S,) float64, percent


class Interval(NamedTuple):
    """Interval of an mIoU in percent, or of a difference of two, in points."""

    low: float
    high: float


def summarize(values: Sequence[float]) -> Summary:
    """Mean, sample standard deviation and number of the runs.

    Examples:
        >>> summarize([51.0, 52.0, 53.0])
        Summary(mean=52.0, std=1.0, n=3)
        >>> summarize([51.0])
        Summary(mean=51.0, std=None, n=1)
    """
    if len(values) == 0:
        raise ValueError("a summary over runs needs at least one value, got none")
    array = np.asarray(values, np.float64)
    return Summary(float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else None, int(array.size))


def resample(runs: Sequence[PerImageConfusions], samples: int = 1000, random_seed: int = 0) -> ResampledMIoU:
    """mIoU of a method on sets of n images that are drawn with replacement from its n images.

    The pixels of a set are pooled before the IoU is taken. The sets depend on the number of images, the
    number of sets and the random seed only, so that two methods are scored on the same sets.

    Args:
        runs: Per-image confusion matrices of each run (random seed) of the method, of the same images in any
            order. The mIoU of a set is the mean over the runs.
        samples: S, the number of sets.
        random_seed: Seed of the generator that draws the images.

    Raises:
        ValueError: no run, no image, or runs with different images or classes.
    """
    image_ids = sorted(runs[0].image_ids) if runs else []
    if not image_ids:
        raise ValueError("a bootstrap over images needs at least one run and one image, got none")
    num_classes = runs[0].num_classes
    for run in runs:
        _check_same(image_ids, num_classes, sorted(run.image_ids), run.num_classes)
    values = [_miou_of_samples(run.select(image_ids).class_sums(), samples, random_seed) for run in runs]
    return ResampledMIoU(image_ids, num_classes, np.mean(values, axis=0))


def difference_interval(first: ResampledMIoU, second: ResampledMIoU) -> Interval:
    """95 % percentile bootstrap interval of the mIoU of `first` minus that of `second`.

    Both are on the same resampled image sets. The images are the unit that varies; the interval does not
    cover the spread over random seeds.

    Raises:
        ValueError: the two sides have different images or classes.
    """
    _check_same(first.image_ids, first.num_classes, second.image_ids, second.num_classes)
    return _percentiles(first.miou - second.miou)


def interval(resampled: ResampledMIoU) -> Interval:
    """95 % percentile bootstrap interval of the mIoU of a method, over images."""
    return _percentiles(resampled.miou)


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.nanpercentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _check_same(first: list[str], first_classes: int, second: list[str], second_classes: int) -> None:
    if first != second or first_classes != second_classes:
        raise ValueError(
            f"a paired comparison needs the same images and classes on both sides; got {len(first)} and "
            f"{len(second)} images, {first_classes} and {second_classes} classes"
        )


def _miou_of_samples(sums: np.ndarray, samples: int, random_seed: int) -> np.ndarray:
    """mIoU `(S,)` in percent, from pixels `(n, 3K)` that are right, true and predicted of each class."""
    generator = np.random.default_rng(random_seed)
    n = len(sums)
    values = []
    for start in range(0, samples, BLOCK):
        drawn = generator.integers(0, n, (min(BLOCK, samples - start), n))
        # how often each image is in each set, (sets, n)
        weights = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float64)
        hits, truth, predicted = np.split(weights @ sums, 3, axis=1)
        values.append(100.0 * mean_over_present(iou_from_sums(hits, truth, predicted)))
    return np.concatenate(values)
