"""Background thresholds of seeds: the grid, the images that one is chosen on, and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Literal

import numpy as np

GRID = tuple(step / 100 for step in range(1, 100))
"""Background thresholds of the sweep. Published sweeps end at 0.60; CLIP's maps have their best ones above.
"""

Rule = Literal["fixed", "heldout", "oracle", "na"]
"""How a threshold was set; `na` for masks, which have none."""


def thresholds_with(fixed: float) -> list[float]:
    """The grid, and the fixed threshold where it is not on it.

    Raises:
        ValueError: the fixed threshold is outside [0, 1].
    """
    if not 0 <= fixed <= 1:
        raise ValueError(f"threshold (the fixed background threshold) is in [0, 1], got {fixed}")
    return sorted({*(t for t in GRID if np.float32(t) != np.float32(fixed)), fixed})


def holdout_ids(ids: Sequence[str], number: int) -> frozenset[str]:
    """The `number` images whose id has the smallest sha1.

    They are the same ones for every method, and do not depend on the order of the split.

    Raises:
        ValueError: a negative number, or one that leaves no other image.
    """
    if not 0 <= number < len(ids):
        raise ValueError(
            f"holdout is at least 0 and smaller than the split ({len(ids)} images), got {number}"
        )
    return frozenset(sorted(ids, key=lambda name: sha1(name.encode()).hexdigest())[:number])


def best_threshold(curve: np.ndarray) -> int:
    """Position of the highest mIoU in `(T,)`; among equal ones that of the lowest threshold."""
    return int(np.argmax(np.nan_to_num(curve, nan=-1.0)))
