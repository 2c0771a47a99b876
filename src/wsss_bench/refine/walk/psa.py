"""PSA: random walk of the seeds and a background map between pixels of similar features.

Ahn and Kwak, CVPR 2018, https://arxiv.org/abs/1803.10464; https://github.com/jiwoon-ahn/psa (`infer_aff.py`).

Departures: the transition matrix is sparse (`random_walk`). Only the classes of the image take part; PSA
    carries maps of
zeros for the others, which does not change the result.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from wsss_bench.inference import image_tensor
from wsss_bench.ranges import check_range
from wsss_bench.readout import full_size_scores, scores_with_background
from wsss_bench.refine.base import NetworkRefiner
from wsss_bench.refine.walk.affinity_pairs import feature_affinity
from wsss_bench.refine.walk.affinitynet import STRIDE, AffinityNet
from wsss_bench.refine.walk.random_walk import MAX_DOUBLINGS, feature_transition_matrix, random_walk
from wsss_bench.refine.walk.trained_network import load_trained_network
from wsss_bench.types import ScoreMaps


class PSARefiner(NetworkRefiner):
    """Random walk at stride 8 of the seeds and of the background score (1 - max_c s_c)^alpha.

    Args:
        alpha: Exponent of the background score; the larger, the less background.
        radius: The pixels of a pair are nearer to each other than this, in pixels at stride 8. In small
            images it is reduced to (short side of the map - 1) / 2, but at least 1.
        beta: Exponent of the affinities.
        exp_times: The walk has 2^exp_times steps.
    """

    seed_parts = ("scores",)

    def __init__(self, alpha: float = 16.0, radius: int = 5, beta: float = 8.0, exp_times: int = 8) -> None:
        check_range("refiner.init_args.alpha", alpha, above=0)
        check_range("refiner.init_args.radius", radius, 1)
        check_range("refiner.init_args.beta", beta, 0)
        check_range("refiner.init_args.exp_times", exp_times, 0, MAX_DOUBLINGS)
        self.alpha = alpha
        self.radius = radius
        self.beta = beta
        self.steps = 2**exp_times
        self.network: AffinityNet | None = None

    def load(self, stage: Path) -> None:
        self.network = load_trained_network(AffinityNet, stage, self.device)

    @torch.no_grad()
    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        if self.network is None:
            raise ValueError(
                "PSARefiner has no network yet; call load with the stage that trained AffinityNet"
            )
        height, width = maps.size
        # zeros below and to the right
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        pixels = image_tensor(image, self.network.device)
        features = self.network.affinity_features(pixels, padding)
        size = (features.shape[2], features.shape[3])
        radius = max(1, min(self.radius, (min(size) - 1) // 2))
        transition = feature_transition_matrix(feature_affinity(features, radius)[0], size, radius, self.beta)
        scores = torch.tensor(
            scores_with_background(full_size_scores(maps), self.alpha), device=features.device
        )
        pooled = F.avg_pool2d(F.pad(scores, padding), STRIDE)  # (1 + K, h, w)
        walked = random_walk(pooled, transition, self.steps)
        upsampled = F.interpolate(walked[None], scale_factor=STRIDE, mode="bilinear", align_corners=False)
        best = upsampled[0, :, :height, :width].argmax(dim=0).cpu().numpy()
        return np.concatenate([[0], maps.classes]).astype(np.uint8)[best]
