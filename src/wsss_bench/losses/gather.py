"""Gather rows of all data-parallel ranks, with gradient: contrastive losses use the whole global batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def gather_rows(rows: Tensor) -> Tensor:
    """`(n, ...)` rows of this rank -> `(sum of n, ...)` rows of all ranks, in the order of the ranks.

    Ranks may have different numbers of rows, also none, and all of them must call this. In the backward pass
    a row gets the sum of its gradients on all ranks. As data-parallel training averages gradients over ranks,
    a loss that is the mean over the rows of a rank, averaged over ranks, has the gradient of one process with
    all rows. With one process the rows are returned unchanged.
    """
    return _Gather.apply(rows, _row_counts(rows)) if _distributed() else rows


def rows_before(rows: Tensor) -> int:
    """Index of this rank's first row in `gather_rows(rows)`."""
    return sum(_row_counts(rows)[: distributed.get_rank()]) if _distributed() else 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        padded = rows.new_zeros(max(counts), *rows.shape[1:])  # all_gather needs equal shapes
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return torch.split(gradient, ctx.counts)[distributed.get_rank()], None


def _row_counts(rows: Tensor) -> list[int]:
    """Number of rows of each rank."""
    if not _distributed():
        return [len(rows)]
    counts = torch.zeros(distributed.get_world_size(), dtype=torch.int64, device=rows.device)
    counts[distributed.get_rank()] = len(rows)
    distributed.all_reduce(counts)
    return counts.tolist()


def _distributed() -> bool:
    """Whether there is more than one rank."""
    return distributed.is_initialized() and distributed.get_world_size() > 1
