"""What turns the score maps of an image into a pseudo mask."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from wsss_bench.types import ScoreMaps


class Refiner(ABC):
    """One image at a time, without state: images may be refined in any order and in several processes."""

    @abstractmethod
    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        """Refine one image.

        Args:
            image: `(H, W, 3)` uint8 RGB, the original.
            maps: Its seeds; `maps.size` is `(H, W)`.

        Returns:
            `(H, W)` uint8 in {0..C, 255}.
        """
