"""IRN: class activation maps walk until a boundary of IRNet stops them.

Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044, section 5; https://github.com/jiwoon-ahn/irn
(`step/make_sem_seg_labels.py`), with the levels of CLIMS (Xie et al., CVPR 2022, https://github.com/CVI-SZU/CLIMS).

Departures: the walk is sparse (`nn/random_walk.py`), so that the image goes in whole at any size; IRN pads it to 512
pixels, or crops it to them, since its matrix is dense, and CLIMS removed that. A pixel of no activation at all is
background.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.affinity.irnet import IRNet
from wsss_bench.affinity.network import as_tensor, trained_network
from wsss_bench.nn.irn import mirrored_boundary
from wsss_bench.nn.random_walk import edge_transition, random_walk
from wsss_bench.refine.base import TrainedRefiner
from wsss_bench.types import ScoreMaps

STRIDE = 4


class IRNRefiner(TrainedRefiner):
    """Random walk of the seeds at stride 4 between the boundaries that IRNet sees in the image and in its mirror image.

    Args:
        threshold: Level of the background beside the walked maps, whose maximum over all classes is 1; in (0, 1).
        radius: Pairs of pixels are nearer than this, in pixels at stride 4.
        beta: Exponent on affinities.
        exp_times: The walk has 2 to this power steps.
    """

    def __init__(self, threshold: float, radius: int = 5, beta: float = 10.0, exp_times: int = 8) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"refiner.init_args.threshold is in (0, 1), got {threshold}")
        self.threshold = threshold
        self.radius = radius
        self.beta = beta
        self.steps = 2**exp_times
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
        edge = mirrored_boundary(self.network.boundary_logits(torch.cat([pixels, pixels.flip(-1)])))
        scores = torch.tensor(maps.strided, device=edge.device).float()
        walked = random_walk(scores * (1 - edge), edge_transition(edge, self.radius, self.beta), self.steps)
        best = walked_labels(walked, maps.size, self.threshold).cpu().numpy()
        return np.concatenate([[0], maps.classes]).astype(np.uint8)[best]


def walked_labels(walked: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Maps `(K, h, w)` at stride 4 after a walk -> `(H, W)` labels in {0..K}, 0 where no map exceeds `threshold`.

    Enlarged four times, cropped at the top left, divided by the maximum over all classes together.
    """
    enlarged = F.interpolate(walked[None], scale_factor=STRIDE, mode="bilinear", align_corners=False)
    enlarged = enlarged[0, :, : size[0], : size[1]]
    relative = enlarged / enlarged.max().clamp(
        min=torch.finfo(enlarged.dtype).tiny
    )  # maps may be zero all over
    level = torch.full_like(relative[:1], threshold)
    return torch.cat([level, relative]).argmax(dim=0)
