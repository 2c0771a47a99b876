"""Spread over seeds, and the interval of the difference between two methods. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wsss_bench.metrics.functional import iou_from_sums, mean_over_present
from wsss_bench.metrics.per_image import PerImageConfusions

_CHUNK = 4_000_000
"""Weights held at a time: 32 MB."""


class Summary(NamedTuple):
    """A figure over seeds."""

    mean: float
    std: float | None  # sample standard deviation (ddof 1); None for one seed
    n: int


class Interval(NamedTuple):
    """A difference of two mIoU and its bootstrap interval."""

    difference: float  # second minus first, on all images
    low: float
    high: float


def summarize(values: Sequence[float]) -> Summary:
    """Mean, sample standard deviation and number of seeds."""
    if len(values) == 0:
        raise ValueError("a summary over seeds needs at least one value, got none")
    array = np.asarray(values, np.float64)
    return Summary(float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else None, int(array.size))


def paired_bootstrap(
    first: PerImageConfusions,
    second: PerImageConfusions,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap over images of the mIoU difference `second - first`.

    Each sample draws n images with replacement, the same ones for both, and pools their pixels. The images
    are the unit that varies; the interval says nothing about the spread over training seeds.

    Args:
        first, second: Per-image confusions of the same images in the same order.
        samples: Bootstrap samples.
        level: Probability mass of the interval.
        seed: Of the draws; equal seeds give equal intervals.
    """
    if first.image_id != second.image_id or first.num_classes != second.num_classes:
        raise ValueError(
            f"a paired comparison needs the same images and classes on both sides; got "
            f"{len(first.image_id)} and {len(second.image_id)} images, "
            f"{first.num_classes} and {second.num_classes} classes"
        )
    number = len(first.image_id)
    if number == 0:
        raise ValueError("a paired comparison needs at least one image, got none")
    sums = [side.class_sums() for side in (first, second)]  # (n, 3K): all that an IoU needs
    everything = np.ones((1, number))
    difference = _miou(everything @ sums[1]) - _miou(everything @ sums[0])
    random = np.random.default_rng(seed)
    rows = max(1, _CHUNK // number)
    differences = []
    for start in range(0, samples, rows):
        draws = min(rows, samples - start)
        # counts of n uniform draws: a multinomial sample, made the fast way
        weights = np.stack(
            [np.bincount(random.integers(0, number, number), minlength=number) for _ in range(draws)]
        ).astype(np.float64)
        differences.append(_miou(weights @ sums[1]) - _miou(weights @ sums[0]))
    low, high = np.nanquantile(np.concatenate(differences), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(difference[0]), float(low), float(high))


def _miou(sums: np.ndarray) -> np.ndarray:
    """mIoU `(S,)` of class sums `(S, 3K)`."""
    hits, truth, predicted = np.split(sums, 3, axis=1)
    return mean_over_present(iou_from_sums(hits, truth, predicted))
