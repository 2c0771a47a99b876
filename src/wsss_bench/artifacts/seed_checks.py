"""What a seed file must hold. Seeds of other programs are scored too, so nothing is taken for granted."""

from __future__ import annotations

import numpy as np

from wsss_bench.types import IGNORE, ScoreMaps

MAX_PIXELS = 178_956_970
"""Larger images cannot be decoded by PIL, so there are no seeds of such."""
TOLERANCE = np.float32(1e-3)
"""A map that was divided by its maximum may exceed 1 by the rounding of float16."""
_ONE_HALF = int((np.float16(1) + np.float16(TOLERANCE)).view(np.uint16))


def check_seed_arrays(image_id: str, arrays: dict[str, np.ndarray]) -> ScoreMaps:
    """The score maps of one image.

    Args:
        image_id: Id of the image.
        arrays: Content of the file: `classes`, `scores`, `size` and, where there are any, `strided` and
            `background`.

    Raises:
        ValueError: an array is missing, has another type or shape, or has scores outside [0, 1].
    """
    if missing := [name for name in ("classes", "scores", "size") if name not in arrays]:
        raise ValueError(f"it has no array {', '.join(missing)}; a seed has classes, scores and size")
    classes, scores, strided = arrays["classes"], arrays["scores"], arrays.get("strided")
    height, width = _size(arrays["size"])
    _check_classes(classes)
    _check_maps("scores", scores, len(classes))
    if len(classes) and not (scores.shape[1] <= height and scores.shape[2] <= width):
        raise ValueError(f"scores are {scores.shape[1:]} (h, w), larger than the image {(height, width)}")
    if not _in_unit_range(scores):
        raise ValueError(
            f"scores go from {scores.min()} to {scores.max()}; expected 0 to 1, each map divided by its "
            "maximum"
        )
    if strided is not None:
        _check_maps("strided", strided, len(classes))
        if strided.size and not (np.isfinite(strided).all() and strided.min() >= 0):
            raise ValueError("strided has scores that are negative or not finite")
    background = arrays.get("background")
    if background is not None and not (background.shape == scores.shape[1:] and _in_unit_range(background)):
        raise ValueError(
            f"background is {background.dtype} {background.shape} for scores {scores.shape}; expected one "
            "map of the size of theirs, in [0, 1]"
        )
    return ScoreMaps(image_id, classes.astype(np.uint8), scores, (height, width), strided, background)


def _size(size: np.ndarray) -> tuple[int, int]:
    if size.shape != (2,) or size.dtype.kind not in "iu":
        raise ValueError(f"size is {size.dtype} {size.shape}; expected two integers (H, W)")
    height, width = (int(number) for number in size)
    if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise ValueError(f"size is {(height, width)}; expected height and width of an image")
    return height, width


def _check_classes(classes: np.ndarray) -> None:
    if classes.ndim != 1 or (classes.dtype.kind not in "iu" and classes.size):
        raise ValueError(f"classes are {classes.dtype} {classes.shape}; expected a list of integers (K,)")
    values = classes.tolist()
    if len(set(values)) < len(values) or not all(0 < value < IGNORE for value in values):
        raise ValueError(f"classes are {values}; expected different mask values from 1 on")


def _check_maps(name: str, maps: np.ndarray, number: int) -> None:
    if maps.dtype not in (np.float16, np.float32):
        raise ValueError(f"{name} are {maps.dtype}; expected float16 or float32")
    if number and (maps.ndim != 3 or len(maps) != number or not maps.size):
        raise ValueError(f"{name} are {maps.shape} for {number} classes; expected (K, h, w), a map for each")
    if not number and maps.size:
        raise ValueError(f"{name} are {maps.shape}, but no class is listed")


def _in_unit_range(scores: np.ndarray) -> bool:
    """Whether all scores are in [0, 1], nearly."""
    if not scores.size:
        return True
    if scores.dtype == np.float16 and int(scores.view(np.uint16).max()) <= _ONE_HALF:
        return True  # bits of float16 are ordered as its numbers; negative ones and NaN have larger bits
    return bool(scores.min() >= 0 and scores.max() <= 1 + TOLERANCE)  # False for NaN
