"""IoU of small, medium and large objects, from the confusion matrices of single images."""

from __future__ import annotations

import numpy as np

from wsss_bench.metrics.functional import iou_from_sums, mean_over_present
from wsss_bench.metrics.per_image import PerImageConfusions

BOUNDS = {"small": 0.05, "medium": 0.20, "large": 1.0}
"""Largest share of the counted pixels of an image that an object of this size covers."""


def iou_by_size(confusions: PerImageConfusions) -> dict[str, float | None]:
    """Mean IoU in [0, 1] over the classes, for each size of object; None where there is no object.

    An object is all that belongs to one class in one image; background is none. The IoU of a class at one
    size is pooled over the images in which its object has that size. Where a class is not in the truth of an
    image, its false positives belong to no size and are not counted.
    """
    hits, truth, predicted = np.split(confusions.class_sums(), 3, axis=1)  # (n, K) each
    with np.errstate(invalid="ignore"):
        share = truth[:, 1:] / truth.sum(axis=1, keepdims=True)
    found: dict[str, float | None] = {}
    lower = 0.0
    for name, upper in BOUNDS.items():
        member = (share > lower) & (share <= upper)
        sums = [(np.where(member, counts[:, 1:], 0.0)).sum(axis=0) for counts in (hits, truth, predicted)]
        value = float(mean_over_present(iou_from_sums(*sums)))
        found[name] = None if np.isnan(value) else value
        lower = upper
    return found
