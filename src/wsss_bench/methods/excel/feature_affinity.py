r"""How similar the adapter's features of patches are: the affinity, and the bias of learnable calibration.

ExCEL (CVPR 2025), section 3.4, as in the authors' code, `model/model_excel.py`. With unit features z,
:math:`G = 3 (z^T z - \text{mean})`; the affinity is the sigmoid of G, and the bias (LVC) the softmax over
each row of what is not negative in G.

The published mean is over all pairs of all images of a batch. Here it is over the global batch (all ranks) in
training; at inference it is over the views of one image, so that no image depends on others.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import gather_rows
from wsss_bench.nn.precision import in_float32

SLOPE = 3.0


@in_float32
def cosines(features: Tensor) -> Tensor:
    """Features `(B, n, width)` -> `(B, n, n)` cosines of the patches of each image."""
    unit = F.normalize(features, dim=2)
    return unit @ unit.mT


def mean_of_batch(cosines: Tensor) -> Tensor:
    """Mean of `(B, n, n)` over the batches of all ranks, `(1, 1, 1)`, with gradient."""
    return gather_rows(cosines.mean(dim=(1, 2))).mean().view(1, 1, 1)


def mean_of_images(cosines: Tensor, views: int = 1) -> Tensor:
    """Mean of `(views * B, n, n)`, first views first, over the views of each image: `(views * B, 1, 1)`."""
    own = cosines.mean(dim=(1, 2)).unflatten(0, (views, -1))
    return own.mean(dim=0).repeat(views)[:, None, None]


def affinity(cosines: Tensor, mean: Tensor) -> Tensor:
    """Cosines `(B, n, n)` and their mean -> `(B, n, n)` in (0, 1)."""
    return torch.sigmoid(SLOPE * (cosines - mean))


def calibration_bias(cosines: Tensor, mean: Tensor) -> Tensor:
    """Cosines `(B, n, n)` and their mean -> `(B, n, n)`, rows add up to 1. Each patch attends to itself."""
    shift = SLOPE * (cosines - mean)
    itself = torch.eye(shift.shape[1], dtype=torch.bool, device=shift.device)
    return shift.masked_fill((shift < 0) & ~itself, -torch.inf).softmax(dim=2)
