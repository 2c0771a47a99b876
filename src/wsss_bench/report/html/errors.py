"""The error map of a prediction: what is wrong at each pixel, in four kinds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wsss_bench.metrics.boundary import boundary_band
from wsss_bench.types import IGNORE


class Kind(NamedTuple):
    """What a value of an error map means; `meaning` is empty where the name says it."""

    name: str
    meaning: str
    colour: str


KINDS = (
    Kind("right, background", "", "#e4e6ea"),
    Kind("right, object", "", "#a9afb9"),
    Kind("missed object", "the truth is an object, the prediction background", "#2f6fde"),
    Kind("background leak", "the truth is background, the prediction an object", "#e8590c"),
    Kind("wrong class", "two different objects", "#b13fb8"),
    Kind(
        "boundary",
        "any error within 2 % of the image diagonal of a boundary of the truth",
        "#f2c231",
    ),
    Kind("not counted", "ignored in the truth, or undecided in the mask", "#ffffff"),
)
"""The values of an error map, in order. The colours differ for colour-blind readers, too."""
BACKGROUND, OBJECT, MISSED, LEAK, WRONG_CLASS, BOUNDARY, NOT_COUNTED = range(len(KINDS))


def error_map(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The kind of error at each pixel.

    Args:
        prediction: `(H, W)` uint8 in {0..C}, or 255 where a mask is undecided.
        truth: `(H, W)` uint8 in {0..C, 255}.

    Returns:
        `(H, W)` uint8 of positions in `KINDS`.

    Raises:
        ValueError: different sizes.

    Examples:
        >>> prediction, truth = np.zeros((1, 60), np.uint8), np.zeros((1, 60), np.uint8)
        >>> truth[0, 30:] = 4  # an object that is missed
        >>> [KINDS[kind].name for kind in error_map(prediction, truth)[0, [0, 30, 59]]]
        ['right, background', 'boundary', 'missed object']
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"the mask is {prediction.shape}, its truth {truth.shape} (height, width)")
    found = np.where(truth > 0, OBJECT, BACKGROUND).astype(np.uint8)
    wrong = prediction != truth
    found[wrong & (prediction == 0)] = MISSED
    found[wrong & (truth == 0)] = LEAK
    found[wrong & (prediction > 0) & (truth > 0)] = WRONG_CLASS
    found[wrong & boundary_band(truth)] = BOUNDARY
    found[(truth == IGNORE) | (prediction == IGNORE)] = NOT_COUNTED
    return found
