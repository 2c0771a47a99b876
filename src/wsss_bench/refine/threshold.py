"""Background threshold and argmax, without refinement: the masks that the seeds are scored with."""

from __future__ import annotations

import numpy as np

from wsss_bench.ranges import check_range
from wsss_bench.readout import threshold_mask
from wsss_bench.refine.base import Refiner
from wsss_bench.types import ScoreMaps


class ThresholdRefiner(Refiner):
    """The same masks as the threshold rule `fixed` reads from the seeds (`readout.threshold_mask`).

    Args:
        threshold: Background level in [0, 1].

    Raises:
        ValueError: the threshold is out of range.
    """

    seed_parts = ("scores",)

    def __init__(self, threshold: float) -> None:
        check_range("refiner.init_args.threshold", threshold, 0, 1)
        self.threshold = threshold

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        return threshold_mask(maps, self.threshold)
