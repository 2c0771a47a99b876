"""From seeds to a mask: resize the score maps to the image, apply a background threshold, take the argmax.

The background is a map with the constant value t before the class maps, and the first maximum is taken (IRN,
Ahn et al., CVPR 2019). So a pixel is foreground only where its best score is strictly above t, and of classes
with equal scores the first one is chosen. This module does not import torch.
"""

from __future__ import annotations

import numpy as np

from wsss_bench.types import ScoreMaps


def full_size_scores(maps: ScoreMaps) -> np.ndarray:
    """Scores `(K, H, W)` at the size of the image.

    Maps that are stored at full size are returned unchanged (float16). Others are resized in float32,
    bilinear with half-pixel centres, as `torch.nn.functional.interpolate(mode="bilinear",
    align_corners=False)` does.
    """
    height, width = maps.size
    if len(maps.classes) == 0:
        return np.zeros((0, height, width), np.float32)
    if maps.scores.shape[1:] == (height, width):
        return maps.scores
    wide = _stretch(maps.scores.astype(np.float32), width)  # (K, h, W)
    return np.ascontiguousarray(_stretch(wide.swapaxes(1, 2), height).swapaxes(1, 2))


def threshold_mask(maps: ScoreMaps, threshold: float) -> np.ndarray:
    """Mask `(H, W)` uint8: the best class where its score is strictly above `threshold`, else 0.

    Args:
        maps: Seeds of one image, each map with a maximum of about 1.
        threshold: Background score t in [0, 1], compared as float32.

    Examples:
        >>> scores = np.array([[[1.0, 0.5, 0.1]], [[0.2, 0.6, 0.15]]])  # of classes 3 and 7 at three pixels
        >>> threshold_mask(ScoreMaps("dog", np.array([3, 7]), scores, (1, 3)), 0.15)
        array([[3, 7, 0]], dtype=uint8)
    """
    if len(maps.classes) == 0:
        return np.zeros(maps.size, np.uint8)
    scores = full_size_scores(maps)
    best = scores.argmax(axis=0)  # (H, W), the first of equal maxima
    above = scores.max(axis=0).astype(np.float32) > np.float32(threshold)
    return np.where(above, maps.classes.astype(np.uint8)[best], np.uint8(0))


def scores_with_background(scores: np.ndarray, alpha: float) -> np.ndarray:
    """Put PSA's background score (1 - max_c s_c)^alpha in front of the class scores.

    Args:
        scores: `(K, H, W)` class scores in [0, 1].
        alpha: Exponent; the larger, the lower the background score.

    Returns:
        `(1 + K, H, W)` float32 in [0, 1].

    Examples:
        >>> scores_with_background(np.array([[[1.0, 0.5]], [[0.0, 0.25]]]), alpha=2)[0]  # of the background
        array([[0.  , 0.25]], dtype=float32)
    """
    scores = scores.astype(np.float32)
    background = np.clip(1 - scores.max(axis=0, keepdims=True), 0, 1) ** np.float32(alpha)
    return np.concatenate([background, scores])


def _stretch(maps: np.ndarray, length: int) -> np.ndarray:
    """Linear interpolation of the last axis of float32 maps to `length`, in float32 as in torch."""
    old = maps.shape[-1]
    half = np.float32(0.5)
    centres = np.float32(old / length) * (np.arange(length, dtype=np.float32) + half) - half
    centres = np.maximum(centres, np.float32(0))
    left = np.minimum(centres.astype(np.int64), old - 1)
    right = np.minimum(left + 1, old - 1)
    share = centres - left.astype(np.float32)
    return maps[..., left] * (np.float32(1) - share) + maps[..., right] * share
