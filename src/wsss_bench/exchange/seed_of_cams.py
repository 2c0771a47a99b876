"""From a file of CAMs to the seed of its image: classes, sizes and values are checked, none is guessed."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np

from wsss_bench.artifacts.seed_checks import TOLERANCE
from wsss_bench.exchange.cam_files import Cams
from wsss_bench.types import ScoreMaps

Numbering = Literal["classes", "mask_values"]
"""Whether key 0 of a file is the first class, or background."""
STRIDE = 4
"""Of the maps that random walks start from."""
COARSEST = 64
"""Largest stride of maps that are smaller than their image."""


class Reading(NamedTuple):
    """How CAM files are read.

    Args:
        name: Name of the maps in a dictionary; None for the first known one.
        numbering: What the keys of a dictionary number.
        clip: Whether negative scores become 0.
        normalize: Whether each map is divided by its maximum.
    """

    name: str | None = None
    numbering: Numbering = "classes"
    clip: bool = False
    normalize: bool = False


def seed_of_cams(
    image_id: str,
    cams: Cams,
    labels: np.ndarray,
    size: tuple[int, int],
    reading: Reading,
) -> ScoreMaps:
    """The seed of an image. A background map becomes its own background score.

    Files without maps at the stride that random walks start from, such as those of CLIP-ES, get them from the
    others.

    Args:
        image_id: Id of the image.
        cams: Content of the file.
        labels: `(C,)` image labels, multi-hot. They choose among the maps of a file without keys.
        size: `(H, W)` of the image.
        reading: How the file is read.

    Raises:
        ValueError: unknown classes, maps of another image, or scores that are not finite or not in [0, 1].
    """
    values = _mask_values(cams, reading.numbering, len(labels))
    kept = [at for at in np.argsort(values, kind="stable").tolist() if values[at]]
    if cams.keys is None:
        kept = [at for at in kept if labels[values[at] - 1]]
    if values and not _is_drawn_on(cams.maps.shape[1:], size):
        raise ValueError(
            f"its maps are {cams.maps.shape[1]}x{cams.maps.shape[2]} (height x width), the image is "
            f"{size[0]}x{size[1]}: resize the maps to the image before they are saved"
        )
    scores, background = _scores(cams.maps[kept], reading), None
    if 0 in values:
        background = _scores(cams.maps[[values.index(0)]], reading._replace(normalize=False))[0]
        scores[scores <= background] = 0
    stored = next((maps for maps in (cams.strided, cams.maps) if _is_of(maps, _walk_grid(size))), None)
    strided = _resized(scores, _walk_grid(size)) if stored is None else _scores(stored[kept], reading)
    return ScoreMaps(
        image_id, np.array([values[at] for at in kept], np.uint8), scores, size, strided, background
    )


def _mask_values(cams: Cams, numbering: Numbering, num_classes: int) -> list[int]:
    """The mask value of each map; 0 is background."""
    if cams.keys is None:
        if len(cams.maps) not in (num_classes, num_classes + 1):
            raise ValueError(
                f"it has {len(cams.maps)} maps; expected {num_classes}, one for each class of the data set, "
                "or one more with background first: save a dictionary with class indices otherwise"
            )
        return list(range(num_classes + 1))[-len(cams.maps) :]
    shift = int(numbering == "classes")
    if unknown := [key for key in cams.keys if key + shift > num_classes]:
        first = "0" if shift else "0 (background)"
        raise ValueError(
            f"it has the keys {unknown}; expected {first} to {num_classes - shift}, since the data set has "
            f"{num_classes} classes: another --numbering, or another data set?"
        )
    return [key + shift for key in cams.keys]


def _is_drawn_on(grid: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether a map is as large as the image, or a grid of cells of one size over it."""
    strides = range(1, COARSEST + 1)
    return any(grid in ((-(-size[0] // s), -(-size[1] // s)), (size[0] // s, size[1] // s)) for s in strides)


def _walk_grid(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the maps that random walks start from."""
    return -(-size[0] // STRIDE), -(-size[1] // STRIDE)


def _is_of(maps: np.ndarray | None, grid: tuple[int, int]) -> bool:
    return maps is not None and maps.shape[1:] == grid


def _resized(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Maps `(K, h, w)` on another grid: the mean over a cell of it, or bilinear where it is finer."""
    finer = grid[0] > maps.shape[1] or grid[1] > maps.shape[2]
    way = cv2.INTER_LINEAR if finer else cv2.INTER_AREA
    resized = [cv2.resize(one, grid[::-1], interpolation=way) for one in maps]
    return np.array(resized, np.float32).reshape(len(maps), *grid)


def _scores(maps: np.ndarray, reading: Reading) -> np.ndarray:
    """The maps as float32 scores in [0, 1]."""
    scores = np.array(maps, np.float32)
    if not scores.size:
        return scores
    if not np.isfinite(scores).all():
        raise ValueError("it has scores that are not finite: make it again")
    if scores.min() < -TOLERANCE and not reading.clip:
        raise ValueError(
            f"it has scores down to {scores.min():.4g}; CAMs are cut off at 0 before each is divided by its "
            "maximum: save them so, or add --clip to set negative scores to 0 here"
        )
    np.maximum(scores, 0, out=scores)
    if reading.normalize:
        peaks = scores.max(axis=(1, 2), keepdims=True)
        np.divide(scores, peaks, out=scores, where=peaks > 0)
    if scores.max() > 1 + TOLERANCE:
        raise ValueError(
            f"it has scores up to {scores.max():.4g}; expected at most 1: add --normalize to divide each map "
            "by its maximum"
        )
    return np.minimum(scores, 1, out=scores)
