"""IRN: random walk of the seeds, which the class boundaries of IRNet stop.

Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044, section 5; https://github.com/jiwoon-ahn/irn
(`step/make_sem_seg_labels.py`), with the background levels of CLIMS (Xie et al., CVPR 2022,
https://github.com/CVI-SZU/CLIMS).

Departures: the transition matrix is sparse (`random_walk`), so that an image of any size is processed whole;
    IRN pads or
crops it to 512 pixels, since its matrix is dense, and CLIMS removed that. An image whose maps are zero
everywhere becomes background.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.inference import image_tensor
from wsss_bench.ranges import check_range
from wsss_bench.refine.base import NetworkRefiner
from wsss_bench.refine.walk.irnet import IRNet
from wsss_bench.refine.walk.irnet_branches import flip_averaged_boundary_map
from wsss_bench.refine.walk.random_walk import MAX_DOUBLINGS, boundary_transition_matrix, random_walk
from wsss_bench.refine.walk.trained_network import load_trained_network
from wsss_bench.types import ScoreMaps

STRIDE = 4


class IRNRefiner(NetworkRefiner):
    """Random walk of the seeds at stride 4, with affinities from IRNet's boundary map.

    The boundary map is averaged over the image and its mirror image.

    Args:
        threshold: Background level after the walk, in (0, 1); the maximum over all classes of an image is
            then 1.
        radius: The pixels of a pair are nearer to each other than this, in pixels at stride 4.
        beta: Exponent of the affinities.
        exp_times: The walk has 2^exp_times steps.
        keep_boundary_scores: Start the walk from the seeds as they are. If false, as published, they are
            multiplied by 1 - boundary map first. That removes the scores along the outline, which are a large
            part of a small object.
        scale: Size of the image for the network and the walk, relative to its own size: 1 as published,
            larger for data whose objects are only a few pixels wide at stride 4.

    Raises:
        ValueError: a setting is out of range.
    """

    seed_parts = ("strided",)

    def __init__(
        self,
        threshold: float,
        radius: int = 5,
        beta: float = 10.0,
        exp_times: int = 8,
        keep_boundary_scores: bool = False,
        scale: float = 1.0,
    ) -> None:
        check_range("refiner.init_args.threshold", threshold, above=0, below=1)
        check_range("refiner.init_args.radius", radius, 1)
        check_range("refiner.init_args.beta", beta, 0)
        check_range("refiner.init_args.exp_times", exp_times, 0, MAX_DOUBLINGS)
        check_range("refiner.init_args.scale", scale, above=0)
        self.threshold = threshold
        self.radius = radius
        self.beta = beta
        self.steps = 2**exp_times
        self.keep_boundary_scores = keep_boundary_scores
        self.scale = scale
        self.network: IRNet | None = None

    def load(self, stage: Path) -> None:
        self.network = load_trained_network(IRNet, stage, self.device)

    @torch.no_grad()
    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        if self.network is None:
            raise ValueError("IRNRefiner has no network yet; call load with the stage that trained IRNet")
        if maps.strided is None:
            raise ValueError(
                f"the seed of image {maps.image_id!r} has no maps at stride 4 (array `strided`), which the "
                "random walk starts from; make the seeds again with this version"
            )
        pixels = image_tensor(image, self.network.device)
        input_size = (max(1, round(maps.size[0] * self.scale)), max(1, round(maps.size[1] * self.scale)))
        pixels = _resized(pixels, input_size)
        boundary_map = flip_averaged_boundary_map(
            self.network.boundary_logits(torch.cat([pixels, pixels.flip(-1)]))
        )  # (h, w)
        seed = torch.tensor(maps.strided, device=boundary_map.device).float()
        scores = _resized(seed[None], boundary_map.shape)[0]  # (K, h, w)
        if not self.keep_boundary_scores:
            scores = scores * (1 - boundary_map)
        transition = boundary_transition_matrix(boundary_map, self.radius, self.beta)
        walked = random_walk(scores, transition, self.steps)
        scores = scores_after_walk(walked, input_size, maps.size)
        best = argmax_with_background(scores, self.threshold).cpu().numpy()
        return np.concatenate([[0], maps.classes]).astype(np.uint8)[best]


def scores_after_walk(walked: Tensor, input_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Upsample the maps after the walk to the size of the image and divide them by the maximum over all
    classes.

    Args:
        walked: `(K, h, w)` maps at stride 4 of the network's input.
        input_size: Height and width of the network's input.
        size: `(H, W)` of the image.

    Returns:
        `(K, H, W)` in [0, 1].
    """
    upsampled = F.interpolate(walked[None], scale_factor=STRIDE, mode="bilinear", align_corners=False)
    scores = _resized(upsampled[..., : input_size[0], : input_size[1]], size)[0]
    # the clamp keeps maps finite that are zero everywhere
    return scores / scores.max().clamp(min=torch.finfo(scores.dtype).tiny)


def argmax_with_background(scores: Tensor, threshold: float) -> Tensor:
    """`(K, H, W)` scores -> `(H, W)` int64 in {0..K}: 0 (background) where no score exceeds `threshold`."""
    return torch.cat([torch.full_like(scores[:1], threshold), scores]).argmax(dim=0)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize `(1, K, h, w)` bilinearly to `size`; maps that have this size are returned unchanged."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
