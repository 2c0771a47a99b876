"""IRN: class activation maps walk until a boundary of IRNet stops them.

Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044, section 5; https://github.com/jiwoon-ahn/irn
(`step/make_sem_seg_labels.py`), with the levels of CLIMS (Xie et al., CVPR 2022, https://github.com/CVI-SZU/CLIMS).

Departures: the walk is sparse (`nn/random_walk.py`), so that the image goes in whole at any size; IRN pads it to 512
pixels, or crops it to them, since its matrix is dense, and CLIMS removed that. A pixel of no activation at all is
background.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.refine.base import TrainedRefiner
from wsss_bench.refine.walk.heads import mirrored_boundary
from wsss_bench.refine.walk.irnet import IRNet
from wsss_bench.refine.walk.random_walk import edge_transition, random_walk
from wsss_bench.refine.walk.trained import as_tensor, trained_network
from wsss_bench.types import ScoreMaps

STRIDE = 4


class IRNRefiner(TrainedRefiner):
    """Random walk of the seeds at stride 4 between the boundaries that IRNet sees in the image and in its mirror image.

    Args:
        threshold: Level of the background beside the walked maps, whose maximum over all classes is 1; in (0, 1).
        radius: Pairs of pixels are nearer than this, in pixels at stride 4.
        beta: Exponent on affinities.
        exp_times: The walk has 2 to this power steps.
        from_boundaries: Let scores on boundaries start the walk too. Published: no, the maps are multiplied by 1 - edge,
            which costs an object the band of its outline: much of it where objects are small.
        scale: Size at which the network sees an image and the maps walk, relative to the image: 1 as published, more for data
            whose objects are only a few pixels wide at stride 4.
    """

    def __init__(
        self,
        threshold: float,
        radius: int = 5,
        beta: float = 10.0,
        exp_times: int = 8,
        from_boundaries: bool = False,
        scale: float = 1.0,
    ) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"refiner.init_args.threshold is in (0, 1), got {threshold}")
        if scale <= 0:
            raise ValueError(f"refiner.init_args.scale is positive, got {scale}")
        self.threshold = threshold
        self.radius = radius
        self.beta = beta
        self.steps = 2**exp_times
        self.from_boundaries = from_boundaries
        self.scale = scale
        self.network: IRNet | None = None

    def load(self, stage: Path) -> None:
        self.network = trained_network(IRNet, stage)

    @torch.no_grad()
    def __call__(self, image: np.ndarray, maps: ScoreMaps) -> np.ndarray:
        if len(maps.classes) == 0:
            return np.zeros(maps.size, np.uint8)
        if self.network is None:
            raise ValueError("IRNRefiner has no network yet; call load with the stage that trained IRNet")
        if maps.strided is None:
            raise ValueError(
                f"the seed of image {maps.image_id!r} has no maps at stride 4 (array `strided`), which the walk starts "
                "from; make the seeds again with this version"
            )
        pixels = as_tensor(image, self.network.device)
        seen = (max(1, round(maps.size[0] * self.scale)), max(1, round(maps.size[1] * self.scale)))
        pixels = _resized(pixels, seen)
        edge = mirrored_boundary(self.network.boundary_logits(torch.cat([pixels, pixels.flip(-1)])))
        scores = _resized(torch.tensor(maps.strided, device=edge.device).float()[None], edge.shape)[0]
        if not self.from_boundaries:
            scores = scores * (1 - edge)
        walked = random_walk(scores, edge_transition(edge, self.radius, self.beta), self.steps)
        scores = walked_scores(walked, seen, maps.size)
        best = walked_labels(scores, self.threshold).cpu().numpy()
        return np.concatenate([[0], maps.classes]).astype(np.uint8)[best]


def walked_scores(walked: Tensor, seen: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Maps after a walk -> scores: enlarged four times, cropped at the top left, divided by the maximum over all classes.

    Args:
        walked: `(K, h, w)`, at stride 4 of what the network saw.
        seen: Height and width of what the network saw.
        size: Those of the image, (H, W).

    Returns:
        `(K, H, W)` in [0, 1].
    """
    enlarged = F.interpolate(walked[None], scale_factor=STRIDE, mode="bilinear", align_corners=False)
    scores = _resized(enlarged[..., : seen[0], : seen[1]], size)[0]
    return scores / scores.max().clamp(min=torch.finfo(scores.dtype).tiny)  # maps may be zero all over


def walked_labels(scores: Tensor, threshold: float) -> Tensor:
    """`(K, H, W)` scores -> `(H, W)` int64 in {0..K}, 0 where none exceeds `threshold`, the level of the background."""
    return torch.cat([torch.full_like(scores[:1], threshold), scores]).argmax(dim=0)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """`(1, K, h, w)` at another size, bilinear; untouched where it has that size."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
