"""Means and sums over the global batch: same value and gradient for one process and for several ranks.

Data-parallel training averages gradients over ranks; the functions here scale the loss of a rank accordingly.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def summed_over_ranks(count: Tensor) -> tuple[Tensor, int]:
    """Sum of a count (a tensor without gradient) over ranks, and the number of ranks.

    `sum_of_this_rank * ranks / total_count`, averaged over ranks, is the mean over the global batch.
    """
    ranks = _ranks()
    if ranks > 1:
        count = count.clone()
        distributed.all_reduce(count)
    return count, ranks


def mean_over_ranks(losses: Tensor) -> Tensor:
    """Mean over the items of all ranks, from `(M,)` losses of this rank's items.

    The returned scalar has this mean as its average over ranks. Ranks may have different numbers of items,
    also none; all of them must call this. Without any item it is 0.
    """
    count, ranks = summed_over_ranks(torch.tensor(float(len(losses)), device=losses.device))
    return losses.sum() * ranks / count.clamp(min=1)


def sum_over_ranks(loss: Tensor) -> Tensor:
    """Sum over the items of all ranks, from the sum over this rank's items.

    The returned scalar has this sum as its average over ranks.
    """
    return loss * _ranks()


def _ranks() -> int:
    initialized = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if initialized else 1
