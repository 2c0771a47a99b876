"""Segmentations of COCO annotations, polygons or run lengths: what is wrong, the area, the pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from pycocotools import mask as rle

SHORTEST = 6
"""Numbers of a polygon with an area: three points."""


def compact(segmentation: Any) -> Any:
    """Convert polygons to arrays while the json is parsed: COCO train has thirty million numbers.

    What cannot be converted stays as it is, for `fault_of`.
    """
    if not isinstance(segmentation, list):
        return segmentation
    if segmentation and isinstance(segmentation[0], int | float):  # a single polygon without its outer list
        segmentation = [segmentation]
    try:
        return [np.asarray(polygon, np.float64) for polygon in segmentation]
    except (TypeError, ValueError, OverflowError):
        return segmentation


def fault_of(segmentation: Any, height: int, width: int) -> str:
    """What is wrong with a segmentation (after `compact`); empty if nothing is.

    Polygons of one or two points, or empty ones beside others, are no fault: they have no area.

    Args:
        segmentation: Polygons as arrays, or run lengths with `size` and `counts`.
        height: Height of the image in pixels.
        width: Its width.
    """
    if isinstance(segmentation, dict):
        return _fault_of_runs(segmentation, height, width)
    if segmentation is None or segmentation == []:
        return "no segmentation (a box is no mask)"
    if not isinstance(segmentation, list):
        return f"a segmentation of type {type(segmentation).__name__}; expected polygons or run lengths"
    for polygon in segmentation:
        if not isinstance(polygon, np.ndarray) or polygon.dtype != np.float64 or polygon.ndim == 0:
            return "a polygon that is no list of numbers; expected [x1, y1, x2, y2, ...]"
        if polygon.ndim > 1:
            return "a polygon of points [[x, y], ...]; expected [x1, y1, x2, y2, ...]"
        if polygon.size % 2:
            return f"a polygon of {polygon.size} numbers; expected pairs [x1, y1, x2, y2, ...]"
    longest = max(polygon.size for polygon in segmentation)
    if longest == 0:
        return "only empty polygons"
    if longest == 2 and len(segmentation) > 2:
        return "a list of points [x, y]; expected polygons [x1, y1, x2, y2, ...]"
    return ""


def without_degenerate(segmentation: Any) -> Any:
    """The polygons that have at least three points; run lengths as they are."""
    if not isinstance(segmentation, list):
        return segmentation
    if min(polygon.size for polygon in segmentation) >= SHORTEST:  # nearly always
        return segmentation
    return [polygon for polygon in segmentation if polygon.size >= SHORTEST]


def area_of(segmentation: Any) -> float:
    """Area in pixels of polygons (shoelace formula, overlaps counted twice) or of run lengths."""
    if isinstance(segmentation, list):
        return float(sum(_shoelace(polygon[::2], polygon[1::2]) for polygon in segmentation))
    if isinstance(segmentation["counts"], list):
        return float(sum(segmentation["counts"][1::2]))
    return float(rle.area(segmentation))


def decode(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Pixels `(H, W)` bool of a segmentation without fault, column by column in memory."""
    pixels = np.zeros((width, height), bool)
    paint(pixels, segmentation, True)
    return pixels.T


def paint(columns: np.ndarray, segmentation: Any, value: Any) -> None:
    """Give `value` to the pixels of a segmentation without fault.

    Its runs are painted, since most objects cover a small part of their image: `rle.decode`, which makes an
    image of each, takes three times as long.

    Args:
        columns: `(W, H)`, contiguous: an image column by column.
        segmentation: Polygons as arrays, or run lengths with `size` and `counts`.
        value: The value.
    """
    runs = _runs(segmentation, *columns.shape[::-1])
    shown = runs[1 : runs.size // 2 * 2]  # from the first run of the object to its last
    if shown.size:
        start = runs[0]
        pixels = np.repeat(np.arange(shown.size) % 2 == 0, shown)
        columns.reshape(-1)[start : start + pixels.size][pixels] = value


def _runs(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Lengths of the runs of pixels column by column, beginning with those outside the object."""
    if not segmentation:
        return np.zeros(0, np.int64)
    if isinstance(segmentation, list):
        parts = rle.frPyObjects(segmentation, height, width)
        counts = (parts[0] if len(parts) == 1 else rle.merge(parts))["counts"]
    else:
        counts = segmentation["counts"]
    if isinstance(counts, list):
        return np.array(counts, np.int64)
    runs = _decompressed(counts.encode() if isinstance(counts, str) else counts)
    assert runs is not None  # it has no fault
    return runs


def packed(segmentation: Any, height: int, width: int) -> tuple[list[int], bytes]:
    """A segmentation without fault as bytes, from which `unpacked` makes one with the same pixels.

    Returns:
        The number of bytes of each polygon (none for run lengths), and the bytes.
    """
    if isinstance(segmentation, list):
        return [polygon.nbytes for polygon in segmentation], b"".join(p.tobytes() for p in segmentation)
    counts = segmentation["counts"]
    if isinstance(counts, list):
        counts = rle.frPyObjects(segmentation, height, width)["counts"]
    return [], counts.encode() if isinstance(counts, str) else counts


def unpacked(polygons: Iterable[int], content: bytes, height: int, width: int) -> Any:
    """The segmentation of `packed`."""
    ends = list(accumulate(polygons))
    if ends:
        return [np.frombuffer(content[start:end], np.float64) for start, end in pairwise([0, *ends])]
    return {"size": [height, width], "counts": content} if content else []


def _shoelace(x: np.ndarray, y: np.ndarray) -> float:
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def _fault_of_runs(segmentation: dict[str, Any], height: int, width: int) -> str:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size is None or counts is None:
        return "run lengths without size or counts"
    if size != [height, width]:
        return f"run lengths of size {size} (height, width); its image is {[height, width]}"
    if isinstance(counts, str | bytes):
        runs = _decompressed(counts.encode() if isinstance(counts, str) else counts)
    elif isinstance(counts, list) and all(isinstance(run, int) for run in counts):
        runs = np.asarray(counts, np.int64)
    else:
        return "run lengths that are neither a list of integers nor a text"
    if runs is None or (runs < 0).any():
        return "run lengths that cannot be decoded"
    if runs.sum() != height * width:
        return f"run lengths of {runs.sum()} pixels in all; its image has {math.prod(size)}"
    return ""


def _decompressed(text: bytes) -> np.ndarray | None:
    """Run lengths of COCO's compressed text; None if it is no such text.

    pycocotools reads beyond the end of a text that is cut off, so it gets checked ones only. Each number is
    written in groups of five bits, the lowest first; from the fourth on it is the difference to the number
    two places before.
    """
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not groups.size or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        return None
    last = (groups & 32) == 0  # last group of a number
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() > 6:  # more than 35 bits
        return None
    place = np.arange(groups.size) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((groups & 31) << (5 * place), starts)
    negative = (groups[ends] & 16) != 0
    values[negative] -= np.int64(1) << (5 * (ends - starts + 1))[negative]
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
