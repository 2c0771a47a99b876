"""Scores in [0, 1] as 201 levels.

Level 0 is the score 0, and level n > 0 stands for the scores in ((n - 1) / 200, n / 200], which are all read
as (n - 1/2) / 200. So a score that is read differs by 1/400 at most, and it exceeds a threshold that is a
multiple of 1/200, as those of the threshold curve are, exactly if the original does. Where several maps of an
image share a level, that of the best one stands out (`distinct_winner`). Hence argmax and threshold give each
pixel the class that the original scores give it.
"""

from __future__ import annotations

import numpy as np

from wsss_bench.artifacts.seed_checks import TOLERANCE

LEVELS = 200
"""Level of the score 1."""
_INVALID = 255


def _level_of_half() -> np.ndarray:
    """Level by the bits of a float16; `_INVALID` for what is negative, above 1 or not finite."""
    halves = np.arange(2**16, dtype=np.uint32).astype(np.uint16).view(np.float16).astype(np.float64)
    level = np.full(len(halves), _INVALID, np.uint8)
    valid = (halves >= 0) & (halves <= 1 + TOLERANCE)  # -0.0 too
    level[valid] = np.minimum(np.ceil(halves[valid] * LEVELS), LEVELS)
    return level


_LEVEL_OF_HALF = _level_of_half()
_SCORE_OF_LEVEL = np.concatenate([[0], (np.arange(1, LEVELS + 1) - 0.5) / LEVELS]).astype(np.float16)


def levels_of(scores: np.ndarray) -> np.ndarray:
    """Levels of scores of any shape, uint8 in 0..`LEVELS`.

    Raises:
        ValueError: scores outside [0, 1], or not finite.

    Examples:
        >>> levels_of(np.array([0.0, 0.001, 0.25, 0.252, 1.0]))
        array([  0,   1,  50,  51, 200], dtype=uint8)
    """
    with np.errstate(over="ignore"):  # what is too large for float16 is refused as infinite
        halves = np.ascontiguousarray(scores, np.float16)
    levels: np.ndarray = _LEVEL_OF_HALF[halves.view(np.uint16)]
    if levels.size and levels.max() == _INVALID:
        raise ValueError(
            f"scores go from {halves.min()} to {halves.max()}; expected 0 to 1, each map divided by its "
            "maximum"
        )
    return levels


def scores_of(levels: np.ndarray) -> np.ndarray:
    """The scores that levels are read as, float16.

    Raises:
        ValueError: a level above `LEVELS`.

    Examples:
        >>> scores_of(np.array([0, 1, 100, 200], np.uint8)).astype(float).round(3)
        array([0.   , 0.003, 0.498, 0.998])
    """
    if levels.size and levels.max() > LEVELS:
        raise ValueError(f"a level of a score is {levels.max()}; expected 0 to {LEVELS}")
    scores: np.ndarray = _SCORE_OF_LEVEL[levels]
    return scores


def distinct_winner(levels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Lower the levels that would win a pixel only because they stand before the best score.

    Args:
        levels: `(K, h, w)` levels of `scores`.
        scores: `(K, h, w)`.

    Returns:
        The levels; their first maximum at each pixel is that of the scores.
    """
    if len(levels) < 2:
        return levels
    winner, best = scores.argmax(axis=0), levels.max(axis=0)
    return np.stack([plane - ((plane == best) & (winner > k)) for k, plane in enumerate(levels)])
