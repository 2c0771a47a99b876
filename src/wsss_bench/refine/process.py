"""The refiner of a process: loaded once, with its network, and used for many images.

A worker imports this module and that of its refiner; one without torch starts in a fraction of a second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss_bench.artifacts.files import write_mask
from wsss_bench.refine.base import NetworkRefiner, Refiner
from wsss_bench.types import ScoreMaps

_refiner: Refiner


def use(refiner: Refiner, network: Path | None) -> None:
    """Make a refiner the one of this process, with its trained network.

    Raises:
        ValueError: a network is given for a refiner without one, or missing for a refiner that needs it.
    """
    global _refiner
    if isinstance(refiner, NetworkRefiner) != (network is not None):
        name = type(refiner).__name__
        raise ValueError(
            f"refiner {name} has no network; leave out --network"
            if network is not None
            else f"refiner {name} needs --network, the folder of the stage that trained its network"
        )
    if isinstance(refiner, NetworkRefiner) and network is not None:
        refiner.load(network)
    _refiner = refiner


def write_refined(image: np.ndarray, maps: ScoreMaps, folder: Path) -> None:
    """Refine one image with the refiner of this process and write its mask."""
    write_mask(folder, maps.image_id, _refiner(image, maps))
