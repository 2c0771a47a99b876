"""Fully connected CRF with Gaussian edge potentials.

Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NeurIPS
2011, https://arxiv.org/abs/1210.5644, through `pydensecrf`, a C++ extension that is imported only when it is
used.

The CRF gets the labels of the image only, not all classes: mean field treats an absent label as one with
probability near zero, and its cost grows with their number. The image is the raw uint8 one (DeepLab's
evaluation code passes the mean-subtracted image cast to uint8, which wraps around).
"""

from __future__ import annotations

import numpy as np

from wsss_bench.crf.densecrf import IRN_LABELS, CRFConfig, crf_inference, require_crf
from wsss_bench.readout import full_size_scores
from wsss_bench.refine.base import Refiner
from wsss_bench.types import ScoreMaps


class DenseCRFRefiner(Refiner):
    """Seeds -> CRF -> mask.

    The step from scores to probabilities is ours: the background is a map with the constant value `threshold`
    in front of the class maps, and each pixel is divided by the sum of all of them, p = [t, s_1 .. s_K] / (t
    + s_1 + .. + s_K). Without CRF iterations the mask is that of the threshold. (IRN runs the CRF on hard
    labels at two thresholds, PSA on [(1 - max s)^alpha, s].) The CRF sees background and the classes of the
    image.

    Args:
        threshold: Background level in (0, 1].
        crf: Kernels and iterations; the default is IRN's for labels, (3, 3) / (50, 5, 10).
    """

    def __init__(self, threshold: float, crf: CRFConfig = IRN_LABELS) -> None:
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
