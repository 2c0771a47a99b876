"""What turns the score maps of an image into a pseudo mask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from wsss_bench.types import ScoreMaps


class Refiner(ABC):
    """One image at a time, without state: images may be refined in any order and in several processes."""

    in_pool: ClassVar[bool] = True
    """Whether images are shared among processes; a refiner that computes with torch on the stage's device is not."""

    def missing_files(self, image_ids: Sequence[str]) -> list[Path]:
        """Files that are read along with these images and are not there; asked for before the first image is refined."""
        return []

    @abstractmethod
    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        """Refine one image.

        Args:
            image: `(H, W, 3)` uint8 RGB, the original.
            maps: Its seeds; `maps.size` is `(H, W)`.

        Returns:
            `(H, W)` uint8 in {0..C, 255}.
        """


class TrainedRefiner(Refiner):
    """A refiner with a network of its own, trained by the stage before it (the `network` of its YAML)."""

    in_pool = False

    @abstractmethod
    def load(self, stage: Path) -> None:
        """Read what a train stage left in its folder: weights in `checkpoints/last.ckpt`, arguments in `stage.json`."""
