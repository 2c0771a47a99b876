"""Means and sums over the items of a global batch, however it is dealt out to ranks.

Data-parallel training averages the gradients of the ranks. A mean over items of which each rank has another number (the
positive pairs of its images) is then not the mean over all of them, and a sum becomes a sum divided by the ranks. These two
reductions give, after that averaging, the gradient that one process has with the whole batch. Every rank must call them, also
one without any item.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def mean_over_ranks(losses: Tensor) -> Tensor:
    """`(M,)` losses of this rank's items -> this rank's part of the mean over all ranks' items; 0 where there are none."""
    count = torch.tensor(float(len(losses)), device=losses.device)
    if distributed.is_initialized():
        distributed.all_reduce(count)
    return losses.sum() * _ranks() / count.clamp(min=1)


def sum_over_ranks(loss: Tensor) -> Tensor:
    """A sum over this rank's items -> this rank's part of the sum over all ranks' items."""
    return loss * _ranks()


def _ranks() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1
