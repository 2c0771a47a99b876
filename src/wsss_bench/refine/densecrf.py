"""Seeds to pseudo masks by one run of the dense CRF (`crf.densecrf`).

The CRF gets the constant background level and the scores of the present classes, as probabilities. Other
papers use the CRF on seeds in other ways: IRN on hard labels at two thresholds and PSA on [(1 - max_c
s_c)^alpha, s] (`refine.walk.affinity_labels`); CLIP-ES on the same as PSA (`refine.confident_crf`).
"""

from __future__ import annotations

import numpy as np

from wsss_bench.crf.densecrf import IRN_CRF, CRFConfig, crf_inference, require_crf
from wsss_bench.readout import full_size_scores
from wsss_bench.refine.base import Refiner
from wsss_bench.types import ScoreMaps


class DenseCRFRefiner(Refiner):
    """Seeds -> probabilities -> CRF -> argmax.

    How scores become probabilities is our choice: the background is a map with the constant value t =
    `threshold`, and all maps are divided by their sum at each pixel, p = [t, s_1, ..., s_K] / (t + s_1 + ...
    + s_K). With 0 CRF iterations the mask is that of the threshold alone.

    Args:
        threshold: Background level t in (0, 1].
        crf: Kernels and iterations; the default is that of IRN's pseudo labels, (3, 3) / (50, 5, 10).

    Raises:
        ValueError: the threshold is out of range, or the extension `pydensecrf` is missing.
    """

    seed_parts = ("scores",)

    def __init__(self, threshold: float, crf: CRFConfig = IRN_CRF) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"refiner.init_args.threshold is in (0, 1], got {threshold}")
        require_crf()
        self.threshold = threshold
        self.crf = crf

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        scores = full_size_scores(maps).astype(np.float32)
        background = np.full((1, *maps.size), self.threshold, np.float32)
        scores = np.concatenate([background, scores])  # (1 + K, H, W)
        best = crf_inference(image, scores / scores.sum(axis=0), self.crf).argmax(axis=0)
        return np.concatenate([[0], maps.classes]).astype(np.uint8)[best]
