"""Interface of a refiner, which turns the seeds of one image into a pseudo mask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from wsss_bench.artifacts.seeds import PARTS
from wsss_bench.types import ScoreMaps


class Refiner(ABC):
    """Refines one image at a time and keeps no state between images.

    Images may therefore be refined in any order and in several processes. Each process gets a copy of the
    refiner, so that it must be possible to pickle it.
    """

    uses_gpu: ClassVar[bool] = False
    """Whether it computes on `device`, so that the stage takes a GPU where there is one."""
    device: str = "cpu"
    """`cpu` or `cuda`; the stage sets it before it loads a network and refines the first image."""

    seed_parts: ClassVar[Sequence[str]] = PARTS
    """The maps of a seed that are read for it (`artifacts.seeds`)."""

    def missing_files(self, image_ids: Sequence[str]) -> list[Path]:
        """Files that these images need besides their seeds and that do not exist.

        The refine stage checks this before it refines the first image.
        """
        return []

    @abstractmethod
    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        """Refine one image.

        Args:
            image: `(H, W, 3)` uint8 RGB, at its original size.
            maps: Seeds of the image; `maps.size` is `(H, W)`.

        Returns:
            `(H, W)` uint8 in {0..C, 255}: 0 background, c + 1 for class c, 255 ignored.
        """


class NetworkRefiner(Refiner):
    """A refiner with a network, which an earlier stage trained (`network` in the YAML of the refiner)."""

    uses_gpu = True

    @abstractmethod
    def load(self, stage: Path) -> None:
        """Load the network from the folder of its train stage onto `device`.

        Args:
            stage: Complete train stage: weights in `checkpoints/last.ckpt`, arguments in `stage.json`.
        """
