"""The pixels near a boundary of the ground truth (trimap), where masks that look right often are wrong."""

from __future__ import annotations

import math

import cv2
import numpy as np

from wsss_bench.types import IGNORE

SHARE = 0.02
"""Half width of the band, as a share of the image diagonal (Boundary IoU, Cheng et al., CVPR 2021)."""


def boundary_band(target: np.ndarray) -> np.ndarray:
    """Where another value of the ground truth is near, on both sides of each boundary.

    Near is a distance of at most 2 % of the diagonal, rounded, and at least one pixel; the larger of the
    distances in x and y counts. A border drawn with 255 is a boundary too.

    Args:
        target: `(H, W)` uint8.

    Returns:
        `(H, W)` bool.

    Examples:
        >>> boundary_band(np.array([[0, 0, 0, 5, 5, 5]], np.uint8)).astype(int)
        array([[0, 0, 1, 1, 0, 0]])
    """
    reach = max(1, round(SHARE * math.hypot(*target.shape)))
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    band: np.ndarray = cv2.dilate(target, window) != cv2.erode(target, window)
    return band


def near_boundary(target: np.ndarray) -> np.ndarray:
    """The ground truth `(H, W)` uint8 with 255 where no boundary is near, so that only the band counts.

    Examples:
        >>> near_boundary(np.array([[0, 0, 0, 5, 5, 5]], np.uint8))
        array([[255, 255,   0,   5, 255, 255]], dtype=uint8)
    """
    return np.where(boundary_band(target), target, np.uint8(IGNORE))
