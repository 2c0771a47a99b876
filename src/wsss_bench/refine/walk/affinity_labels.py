"""Affinity labels: masks of confident pixels, on which IRNet and AffinityNet are trained. Other pixels are
255.

IRN: Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044; https://github.com/jiwoon-ahn/irn
(`step/cam_to_ir_label.py`).
PSA: Ahn and Kwak, CVPR 2018, https://arxiv.org/abs/1803.10464; https://github.com/jiwoon-ahn/psa.

Both run a CRF twice: once with a high background score, whose foreground is confident, and once with a low
background score, whose background is confident.
"""

from __future__ import annotations

import numpy as np

from wsss_bench.crf.densecrf import IRN_CRF, CRFConfig, ImageCRF, require_crf
from wsss_bench.ranges import check_range
from wsss_bench.readout import full_size_scores, scores_with_background
from wsss_bench.refine.base import Refiner
from wsss_bench.types import IGNORE, ScoreMaps

PSA_CRF = CRFConfig(3, 3, 80, 13, 10, 10)
"""The CRF with which PSA makes affinity labels."""


class IRNAffinityLabels(Refiner):
    """IRN's labels: argmax against a high and a low constant background level, each with a CRF on the hard
    labels.

    A pixel is of a class if the CRF with the high level says so, background if the CRF says so with both
    levels, and 255 otherwise.

    Args:
        foreground: High background level.
        background: Low background level.
        crf: Kernels and iterations.

    Raises:
        ValueError: the levels are out of order, or the extension `pydensecrf` is missing.
    """

    seed_parts = ("scores",)

    def __init__(self, foreground: float = 0.3, background: float = 0.1, crf: CRFConfig = IRN_CRF) -> None:
        if not 0 < background <= foreground < 1:
            raise ValueError(
                "affinity_labels.init_args need 0 < background <= foreground < 1, "
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
        crf = ImageCRF(image, self.crf)
        with_high_level, with_low_level = (
            _class_map(crf, scores, level) for level in (self.foreground, self.background)
        )
        mask_values = np.concatenate([[0], maps.classes]).astype(np.uint8)
        mask = np.where(with_high_level > 0, mask_values[with_high_level], np.uint8(IGNORE))
        mask[(with_high_level == 0) & (with_low_level == 0)] = 0
        return mask


def _class_map(crf: ImageCRF, scores: np.ndarray, level: float) -> np.ndarray:
    """`(K, H, W)` scores -> `(H, W)` in {0..K}: argmax against the level, then the CRF."""
    with_background = np.concatenate([np.full_like(scores[:1], level), scores])
    return crf.from_class_map(with_background.argmax(axis=0), len(with_background))


class PSAAffinityLabels(Refiner):
    """PSA's labels: the CRF on the scores and a background score (1 - max_c s_c)^alpha, with two values of
    alpha.

    A pixel is background if the CRF with the high alpha says so; else of a class if the CRF with the low
    alpha says so; else 255.

    Args:
        low_alpha: Gives a high background score, so that the remaining foreground is confident.
        high_alpha: Gives a low background score, so that the remaining background is confident.
        crf: Kernels and iterations.

    Raises:
        ValueError: the alphas are out of order, or the extension `pydensecrf` is missing.
    """

    seed_parts = ("scores",)

    def __init__(self, low_alpha: float = 4.0, high_alpha: float = 32.0, crf: CRFConfig = PSA_CRF) -> None:
        check_range("affinity_labels.init_args.high_alpha", high_alpha, above=0)
        if not 0 < low_alpha <= high_alpha:
            raise ValueError(
                "affinity_labels.init_args need 0 < low_alpha <= high_alpha, "
                f"got {low_alpha} and {high_alpha}"
            )
        require_crf()
        self.low_alpha = low_alpha
        self.high_alpha = high_alpha
        self.crf = crf

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        scores = full_size_scores(maps)
        crf = ImageCRF(image, self.crf)
        with_low_alpha, with_high_alpha = (
            crf.from_probabilities(scores_with_background(scores, alpha)).argmax(axis=0)
            for alpha in (self.low_alpha, self.high_alpha)
        )
        mask_values = np.concatenate([[0], maps.classes]).astype(np.uint8)
        mask = np.where(with_low_alpha > 0, mask_values[with_low_alpha], np.uint8(IGNORE))
        mask[with_high_alpha == 0] = 0
        return mask
