"""Confusion matrices, IoU and background rates. Pure functions of numpy arrays, without torch.

All scores of the suite follow one convention: one confusion matrix over all pixels of the data set;
background counts as a class; target 255 is ignored; IoU = TP / (truth + prediction - TP). The mean is over
the classes that occur in target or prediction, so a class that is predicted but absent counts 0. chainercv
and torchmetrics' macro Jaccard index do the same; DeepLab's `scores` drops such a class, and other code
averages the IoU of single images.
"""

from __future__ import annotations

import cv2
import numpy as np

from wsss_bench.types import IGNORE

EXACT = 2**24
"""`cv2.calcHist` counts in float32, exact for integers up to here; larger images are counted in parts."""


def confusion(prediction: np.ndarray, target: np.ndarray, num_classes: int, image_id: str = "") -> np.ndarray:
    """Count pixels by true and predicted class.

    Args:
        prediction: `(H, W)` uint8 in {0..K-1}; any value where the target is 255.
        target: `(H, W)` uint8 in {0..K-1, 255}.
        num_classes: K, background included, at most 255.
        image_id: For messages.

    Returns:
        `(K, K)` int64, rows are the truth.

    Raises:
        ValueError: different sizes, an unknown value in the target, or a prediction outside 0..K-1 on a
            counted pixel.

    Examples:
        >>> prediction = np.array([[0, 1, 1], [0, 2, 2]], np.uint8)
        >>> target = np.array([[0, 0, 1], [0, 2, 255]], np.uint8)
        >>> confusion(prediction, target, 3)
        array([[2, 1, 0],
               [0, 1, 0],
               [0, 0, 1]])
    """
    name = f" of image {image_id!r}" if image_id else ""
    if prediction.shape != target.shape or target.ndim != 2:
        raise ValueError(
            f"prediction{name} is {_shown(prediction.shape)} (height x width), its ground truth is "
            f"{_shown(target.shape)}; a mask has the original size of its image"
        )
    if prediction.dtype != np.uint8 or target.dtype != np.uint8:
        raise TypeError(
            f"masks{name} are uint8; got {prediction.dtype} (prediction) and {target.dtype} (target)"
        )
    counts = joint_counts([target, prediction], [256, 256])
    matrix = counts[:num_classes, :num_classes].astype(np.int64)
    if matrix.sum() + counts[IGNORE].sum(dtype=np.float64) != target.size:
        _explain(counts, num_classes, name)
    return matrix


def joint_counts(values: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """How often each combination of values occurs.

    Args:
        values: uint8 arrays of one shape `(H, W)`.
        sizes: Values `0..size-1` are counted, one size for each array; a pixel with a larger value is not
            counted.

    Returns:
        An array of shape `sizes` of whole numbers; float32, or float64 for more than 2^24 pixels.
    """
    arrays = [np.ascontiguousarray(value) for value in values]
    ranges = [bound for size in sizes for bound in (0, size)]
    channels = list(range(len(arrays)))
    height, width = arrays[0].shape
    if height * width <= EXACT:
        return cv2.calcHist(arrays, channels, None, sizes, ranges)
    flat = [array.reshape(1, -1) for array in arrays]
    total = np.zeros(sizes)
    for start in range(0, height * width, EXACT):
        total += cv2.calcHist(
            [array[:, start : start + EXACT] for array in flat], channels, None, sizes, ranges
        )
    return total


def iou(matrix: np.ndarray) -> np.ndarray:
    """IoU `(..., K)` float64 of confusion matrices `(..., K, K)`, in [0, 1]; NaN where the union is empty.

    Examples:
        >>> iou(np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]]))
        array([0.66666667, 0.5       ,        nan])
    """
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    return iou_from_sums(hits, matrix.sum(-1), matrix.sum(-2))


def iou_from_sums(hits: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """IoU from the pixels of each class that are right, true and predicted; NaN where there are none."""
    union = truth + predicted - hits
    ratio: np.ndarray = np.divide(hits, union, out=np.full(union.shape, np.nan), where=union > 0)
    return ratio


def mean_iou(matrix: np.ndarray) -> np.ndarray:
    """Mean `(...)` of the IoU over the classes with a union, in [0, 1]; NaN if there is none.

    Examples:
        >>> mean_iou(np.array([[3, 1], [0, 2]]))  # of 3 / 4 and 2 / 3
        array(0.70833333)
        >>> mean_iou(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]))  # class 2 does not occur
        array(0.70833333)
    """
    return mean_over_present(iou(matrix))


def mean_over_present(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN entries; NaN where all are NaN."""
    present = ~np.isnan(values)
    count = present.sum(-1)
    total = np.where(present, values, 0.0).sum(-1)
    mean: np.ndarray = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def false_positive_background(matrix: np.ndarray) -> float:
    """Share of true background predicted as an object (over-activation); NaN without background.

    Examples:
        >>> false_positive_background(np.array([[6, 1, 1], [2, 4, 0], [0, 0, 6]]))
        0.25
    """
    return _ratio(matrix[0, 1:].sum(), matrix[0].sum())


def false_negative_background(matrix: np.ndarray) -> float:
    """Share of the true objects that is predicted as background (under-activation); NaN without objects.

    Examples:
        >>> false_negative_background(np.array([[6, 1, 1], [3, 3, 0], [0, 0, 6]]))
        0.25
    """
    return _ratio(matrix[1:, 0].sum(), matrix[1:].sum())


def _ratio(part: np.integer, whole: np.integer) -> float:
    return float(part / whole) if whole else float("nan")


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def _explain(counts: np.ndarray, num_classes: int, name: str) -> None:
    """Raise a `ValueError` that names the values outside 0..K-1 in 256 x 256 counts that have some."""
    truth = [int(v) for v in np.flatnonzero(counts.sum(1)) if num_classes <= v != IGNORE]
    if truth:
        raise ValueError(
            f"ground truth{name} holds the values {truth}; expected 0..{num_classes - 1} and {IGNORE}. "
            "Is the vocabulary the one that the masks were made with?"
        )
    found = [int(v) for v in np.flatnonzero(counts[:IGNORE].sum(0)) if v >= num_classes]
    raise ValueError(
        f"prediction{name} holds the values {found} where the ground truth is not {IGNORE}; "
        f"expected 0..{num_classes - 1}. Every counted pixel needs a class: write 0 for background"
    )
