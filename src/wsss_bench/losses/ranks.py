"""What makes a loss that pools over the batch the same for one process and for several ranks, whose gradients are
averaged."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def summed_over_ranks(count: Tensor) -> tuple[Tensor, int]:
    """A count without gradient summed over ranks, and the number of ranks.

    `sum_of_this_rank * ranks / total_count`, averaged over the ranks, is the mean over the global batch.
    """
    ranks = _ranks()
    if ranks > 1:
        count = count.clone()
        distributed.all_reduce(count)
    return count, ranks


def mean_over_ranks(losses: Tensor) -> Tensor:
    """`(M,)` losses of this rank's items -> this rank's part of the mean over the items of all ranks.

    Ranks may hold another number of items each, or none; every rank must call it. Without any item it is 0.
    """
    count, ranks = summed_over_ranks(torch.tensor(float(len(losses)), device=losses.device))
    return losses.sum() * ranks / count.clamp(min=1)


def sum_over_ranks(loss: Tensor) -> Tensor:
    """A sum over this rank's items -> this rank's part of the sum over the items of all ranks."""
    return loss * _ranks()


def _ranks() -> int:
    initialized = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if initialized else 1
