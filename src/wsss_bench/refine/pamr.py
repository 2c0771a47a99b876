"""Pixel-adaptive mask refinement (PAMR) of seeds: pseudo masks without training.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
https://arxiv.org/abs/2005.08104, section 3.3. The authors refine the masks that a network predicts during
training; TCL and CoDe refine CLIP's maps at a quarter of the image size. Here seeds are refined at full image
size, and the background is one more map, with the constant background level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from wsss_bench.nn.pamr import DILATIONS, pamr
from wsss_bench.ranges import check_range, check_ranges
from wsss_bench.readout import full_size_scores
from wsss_bench.refine.base import Refiner
from wsss_bench.types import ScoreMaps


class PAMRRefiner(Refiner):
    """Seeds -> PAMR -> argmax.

    The background is a map with the constant value `threshold`, which PAMR does not change: with 0 iterations
    the mask is that of the threshold alone. Memory is 4 bytes per pixel and neighbour (`nn.pamr`).

    Args:
        threshold: Background level in [0, 1].
        iterations: Number of PAMR iterations.
        dilations: Distances of the neighbours, in pixels.

    Raises:
        ValueError: a setting is out of range.
    """

    seed_parts = ("scores",)
    uses_gpu = True

    def __init__(self, threshold: float, iterations: int = 10, dilations: Sequence[int] = DILATIONS) -> None:
        check_range("refiner.init_args.threshold", threshold, 0, 1)
        check_range("refiner.init_args.iterations", iterations, 0)
        check_ranges("refiner.init_args.dilations", dilations, 1)
        self.threshold = threshold
        self.iterations = iterations
        self.dilations = tuple(dilations)

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        colours = torch.tensor(image, device=self.device).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
        scores = torch.tensor(full_size_scores(maps), device=self.device)[None].float()  # (1, K, H, W)
        refined = pamr(colours, scores, self.iterations, self.dilations)
        best, index = refined[0].max(dim=0)  # (H, W), the first of equal maxima
        classes = torch.tensor(maps.classes, device=self.device)
        return torch.where(best > self.threshold, classes[index], 0).byte().cpu().numpy()
