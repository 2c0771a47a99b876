"""Masks of sure pixels, which the affinity networks are trained on: the rest is 255.

IRN: Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044; https://github.com/jiwoon-ahn/irn (`step/cam_to_ir_label.py`).
PSA: Ahn and Kwak, CVPR 2018, https://arxiv.org/abs/1803.10464; https://github.com/jiwoon-ahn/psa.

Both make two label maps through a CRF, one that is sparing with objects and one that is sparing with background, and
believe the objects of the first and the background of the second.
"""

from __future__ import annotations

import numpy as np

from wsss_bench.crf.densecrf import IRN_CRF, CRFConfig, crf_from_class_map, crf_inference, require_crf
from wsss_bench.readout import full_size_scores
from wsss_bench.refine.base import Refiner
from wsss_bench.types import IGNORE, ScoreMaps

PSA_CRF = CRFConfig(3, 3, 80, 13, 10, 10)
"""PSA's CRF for pseudo labels."""


class ConfidentLabels(Refiner):
    """IRN's labels: argmax against a high and a low constant background level, each through the CRF as hard labels.

    Args:
        foreground: High level: where a class exceeds it and outlives the CRF, it is sure.
        background: Low level: where no class exceeds it before, or after, the CRF, background is sure.
        crf: Kernels and iterations.
    """

    def __init__(self, foreground: float = 0.3, background: float = 0.1, crf: CRFConfig = IRN_CRF) -> None:
        if not 0 < background <= foreground < 1:
            raise ValueError(
                "labels.init_args need 0 < background <= foreground < 1, "
                f"got background {background} and foreground {foreground}"
            )
        require_crf()
        self.foreground = foreground
        self.background = background
        self.crf = crf

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        scores = full_size_scores(maps).astype(np.float32)
        foreground, background = (
            self._labels(image, scores, level) for level in (self.foreground, self.background)
        )
        values = np.concatenate([[0], maps.classes]).astype(np.uint8)
        mask = np.where(foreground > 0, values[foreground], np.uint8(IGNORE))
        mask[(foreground == 0) & (background == 0)] = 0
        return mask

    def _labels(self, image: np.ndarray, scores: np.ndarray, level: float) -> np.ndarray:
        stacked = np.concatenate([np.full_like(scores[:1], level), scores])
        return crf_from_class_map(image, stacked.argmax(axis=0), len(stacked), self.crf)


class PSALabels(Refiner):
    """PSA's labels: the CRF on the scores beside a background score (1 - max_c s_c)^alpha, at two alphas.

    Args:
        low_alpha: Much background: what is an object nevertheless is sure.
        high_alpha: Little background: what is background nevertheless is sure, and overrides an object.
        crf: Kernels and iterations.
    """

    def __init__(self, low_alpha: float = 4.0, high_alpha: float = 32.0, crf: CRFConfig = PSA_CRF) -> None:
        if not 0 < low_alpha <= high_alpha:
            raise ValueError(
                f"labels.init_args need 0 < low_alpha <= high_alpha, got {low_alpha} and {high_alpha}"
            )
        require_crf()
        self.low_alpha = low_alpha
        self.high_alpha = high_alpha
        self.crf = crf

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        scores = full_size_scores(maps)
        objects, background = (
            crf_inference(image, scores_with_background(scores, alpha), self.crf).argmax(axis=0)
            for alpha in (self.low_alpha, self.high_alpha)
        )
        values = np.concatenate([[0], maps.classes]).astype(np.uint8)
        mask = np.where(objects > 0, values[objects], np.uint8(IGNORE))
        mask[background == 0] = 0
        return mask


def scores_with_background(scores: np.ndarray, alpha: float) -> np.ndarray:
    """`(K, H, W)` in [0, 1] -> `(1 + K, H, W)` float32: PSA's background score (1 - max_c s_c)^alpha in front."""
    scores = scores.astype(np.float32)
    background = np.clip(1 - scores.max(axis=0, keepdims=True), 0, 1) ** np.float32(alpha)
    return np.concatenate([background, scores])
