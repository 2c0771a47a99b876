"""What trains alike on one process and on several ranks: means, gathers and random draws for methods.

Data-parallel training shares a batch among ranks and averages their gradients. A mean over a rank's own items
(valid pixels, boxes, captions) then weights items by the rank that they are on, and a draw of the global
generator depends on the number of ranks. In place of them:

| instead of | use |
|---|---|
| `losses.mean()` over items of which ranks have different numbers | `mean_over_ranks(losses)` |
| `losses[mask].mean()`, a cross-entropy with `ignore_index` | `mean_over_valid(losses, mask)` |
| `losses.sum()` | `sum_over_ranks(losses.sum())` |
| other counts of the whole batch | `summed_over_ranks(count)` |
| a contrast with the other images of the batch | `gather_rows(rows)`, `rows_before(rows)`: with gradient |
| `torch.rand`, `torch.randperm` | `image_noise(batch.image_ids, self.global_step, size, device)` |
| `nn.Dropout`, `F.dropout` | `image_dropout(features, p, batch.image_ids, self.global_step, "name")` |
| `nn.Dropout2d` | `channel_dropout(tokens, p, batch.image_ids, self.global_step, "name")` |
| BatchNorm with batch statistics | `trainer.sync_batchnorm: true`, or a frozen BatchNorm |

A plain `.mean()` over images is exact, since ranks have equal numbers of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, distributed

from wsss_bench.transfer import to_device

MOST_DIMENSIONS = 8
"""Of rows that are gathered."""


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
    return _mean(losses, torch.full((), len(losses), dtype=torch.float32, device=losses.device))


def sum_over_ranks(loss: Tensor) -> Tensor:
    """Sum over the items of all ranks, from the sum over this rank's items.

    The returned scalar has this sum as its average over ranks.
    """
    return loss * _ranks()


def mean_over_valid(losses: Tensor, valid: Tensor) -> Tensor:
    """Mean of `losses` over the items of all ranks where `valid`, of the same shape, is true.

    For example the pixels of all images that are not padding; 0 without any. Losses elsewhere do not count,
    and may be infinite.
    """
    # `losses[valid]` would wait for the device, to learn how many there are
    return _mean(torch.where(valid, losses, 0.0), valid.sum().float())


def _mean(losses: Tensor, count: Tensor) -> Tensor:
    count, ranks = summed_over_ranks(count)
    return losses.sum() * ranks / count.clamp(min=1)


def gather_rows(rows: Tensor) -> Tensor:
    """`(n, ...)` rows of this rank -> `(sum of n, ...)` rows of all ranks, in the order of the ranks.

    Ranks may have different numbers of rows, also none, and all of them must call this. In the backward pass
    a row gets the sum of its gradients on all ranks. As data-parallel training averages gradients over ranks,
    a loss that is the mean over the rows of a rank, averaged over ranks, has the gradient of one process with
    all rows. With one process the rows are returned unchanged.

    Raises:
        ValueError: ranks have rows of different shapes.
    """
    return _Gather.apply(rows, _row_counts(rows)) if _ranks() > 1 else rows


def rows_before(rows: Tensor) -> int:
    """Index of this rank's first row in `gather_rows(rows)`."""
    return sum(_row_counts(rows)[: distributed.get_rank()]) if _ranks() > 1 else 0


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
    """Number of rows of each rank.

    With several ranks this waits for the device: only the other ranks know their numbers.

    Raises:
        ValueError: ranks have rows of different shapes, which no collective operation could join.
    """
    if not _ranks() > 1:
        return [len(rows)]
    # 0 where there is no dimension
    own = torch.tensor([1 + length for length in rows.shape] + [0] * (MOST_DIMENSIONS - rows.ndim))
    shapes = torch.zeros(distributed.get_world_size(), MOST_DIMENSIONS, dtype=torch.int64, device=rows.device)
    shapes[distributed.get_rank()] = to_device(own, rows.device)
    distributed.all_reduce(shapes)
    found = [[length - 1 for length in lengths if length] for lengths in shapes.tolist()]
    if any(shape[1:] != found[0][1:] for shape in found):
        listed = ", ".join("x".join(map(str, shape)) for shape in found)
        raise ValueError(
            f"gather_rows: the ranks have rows of shapes {listed}; only the first number may differ: bring "
            "the others to one size, or pad them"
        )
    return [shape[0] for shape in found]


def image_noise(image_ids: Sequence[str], step: int, size: Sequence[int], device: torch.device) -> Tensor:
    """Random numbers `(B, *size)`, uniform in [0, 1).

    Row `b` depends on `image_ids[b]` and `step` only, so that several ranks draw what a single process draws.
    """
    rows = []
    for image_id in image_ids:
        generator = torch.Generator().manual_seed(crc32(f"{image_id} {step}".encode()))
        rows.append(torch.rand(tuple(size), generator=generator))
    return to_device(torch.stack(rows), device)


def image_dropout(features: Tensor, p: float, image_ids: Sequence[str], step: int, place: str = "") -> Tensor:
    """Dropout that draws for each image: several ranks drop what one process drops. Only call it in training.

    Args:
        features: `(B, ...)`.
        p: Probability that a feature is dropped, in [0, 1).
        image_ids: Of the images `B`.
        step: `global_step`, for other draws in each step.
        place: Name of the layer; layers with different names draw differently.

    Returns:
        Features of the same shape; those that are kept are divided by `1 - p`.
    """
    if not 0 <= p < 1:
        raise ValueError(f"p is in [0, 1), got {p}")
    names = [f"{image_id} {place}" for image_id in image_ids]
    kept = image_noise(names, step, features.shape[1:], features.device) >= p
    return features * kept / (1 - p)


def channel_dropout(tokens: Tensor, p: float, image_ids: Sequence[str], step: int, place: str = "") -> Tensor:
    """`image_dropout` of whole channels of `(B, n, channels)`, dropped at all places of an image alike."""
    return tokens * image_dropout(torch.ones_like(tokens[:, :1]), p, image_ids, step, place)


def _ranks() -> int:
    initialized = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if initialized else 1
