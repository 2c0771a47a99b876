"""The pseudo masks of CLIP-ES: a dense CRF on the maps, and 255 where it is not confident.

Lin et al., "CLIP is Also an Efficient Segmenter", CVPR 2023, https://arxiv.org/abs/2212.09506
(`eval_cam_with_crf.py` of https://github.com/linyq2117/CLIP-ES). The confidence-guided loss of the paper is
no loss of its own: pixels whose largest probability after the CRF is below 0.95 are left out of the training
of the segmenter.

Departure: the CRF sees the image as it is. The authors give it the image in BGR, less ImageNet's mean colour
and cast to 8 bit, so that values below the mean wrap around to 255.
"""

from __future__ import annotations

import numpy as np

from wsss_bench.crf.densecrf import CRFConfig, crf_inference, require_crf
from wsss_bench.ranges import check_range
from wsss_bench.readout import full_size_scores, scores_with_background
from wsss_bench.refine.base import Refiner
from wsss_bench.types import IGNORE, ScoreMaps

CLIP_ES_CRF = CRFConfig(1, 3, 67, 3, 4, 10)
"""The CRF with which CLIP-ES makes pseudo masks."""


class ConfidentCRFRefiner(Refiner):
    """CRF on the class scores and a background score (1 - max_c s_c)^alpha; argmax, 255 where in doubt.

    Other than in `DenseCRFRefiner`, the background follows from the scores, and these are not divided by
    their sum: the unary is -log of each score.

    Args:
        alpha: Exponent of the background score; the larger, the more foreground.
        confidence: Pixels whose largest probability after the CRF is below this become 255: masks to train
            on. None: every pixel is background or a class, so that the masks can be scored.
        crf: Kernels and iterations; the default is that of CLIP-ES, (1, 3) / (67, 3, 4).

    Raises:
        ValueError: a value is out of range, or the extension `pydensecrf` is missing.
    """

    seed_parts = ("scores",)

    def __init__(
        self, alpha: float = 1.0, confidence: float | None = None, crf: CRFConfig = CLIP_ES_CRF
    ) -> None:
        check_range("refiner.init_args.alpha", alpha, above=0)
        check_range("refiner.init_args.confidence", confidence, 0, 1)
        require_crf()
        self.alpha = alpha
        self.confidence = confidence
        self.crf = crf

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        scores = scores_with_background(full_size_scores(maps), self.alpha)
        probabilities = crf_inference(image, scores, self.crf)  # (1 + K, H, W)
        mask = np.concatenate([[0], maps.classes]).astype(np.uint8)[probabilities.argmax(axis=0)]
        if self.confidence is not None:
            mask[probabilities.max(axis=0) < self.confidence] = IGNORE
        return mask
