"""PAMR on seeds: training-free pseudo masks.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, https://arxiv.org/abs/2005.08104,
section 3.3. The authors refine the masks of a network in training, TCL and CoDe the maps of CLIP at a quarter of the image's
size; here seeds are refined at the full size of the image, with the background level as one more map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from wsss_bench.nn.pamr import DILATIONS, pamr
from wsss_bench.readout import full_size_scores
from wsss_bench.refine.base import Refiner
from wsss_bench.types import ScoreMaps


class PAMRRefiner(Refiner):
    """Seeds -> PAMR -> mask.

    The background is a map with the constant value `threshold`, which PAMR leaves as it is: without iterations the mask is
    that of the threshold. Memory is 4 bytes a pixel and neighbour (`nn.pamr`). Runs on a GPU where there is one.

    Args:
        threshold: Background level in [0, 1].
        iterations: Steps of PAMR.
        dilations: Distances of the neighbours, in pixels.
    """

    in_pool = False

    def __init__(self, threshold: float, iterations: int = 10, dilations: Sequence[int] = DILATIONS) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"refiner.init_args.threshold is in [0, 1], got {threshold}")
        if iterations < 0 or not dilations or min(dilations) < 1:
            raise ValueError(
                f"PAMR takes iterations >= 0 and dilations of at least 1 pixel, got {iterations} and {tuple(dilations)}"
            )
        self.threshold = threshold
        self.iterations = iterations
        self.dilations = tuple(dilations)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        guide = torch.tensor(image, device=self.device).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
        scores = torch.tensor(full_size_scores(maps), device=self.device)[None].float()  # (1, K, H, W)
        refined = pamr(guide, scores, self.iterations, self.dilations)
        best, index = refined[0].max(dim=0)  # (H, W), the first of equal maxima
        classes = torch.tensor(maps.classes, device=self.device)
        return torch.where(best > self.threshold, classes[index], 0).byte().cpu().numpy()
