"""Where the entries of a transition matrix stand: one sparsity pattern for each size of a map and radius.

Affinities differ from image to image, their places do not. A pattern is made once, and an image then only
fills in its values. Entries are in the order of the rows, and in each row in that of the columns.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.refine.walk.affinity_pairs import pair_offsets, source_indices

KEPT_PATTERNS = 8
"""Number of patterns that a process keeps, of 10 MB each at 94 x 125 and radius 5. VOC has many sizes, but
four of them are most of its images."""


@dataclass(frozen=True)
class PairMatrix:
    """Places of the P pairs, of their mirrored pairs and of the diagonal in an `(n, n)` matrix.

    Args:
        pairs: `(P,)` int32, the pairs that take part, as flat indices of the affinities `(D, N)`.
        starts: `(n + 1,)` int32, first entry of each row.
        columns: `(entries,)` int32.
        origins: `(entries,)` int32 in {0..P}: the pair that an entry has its value from; P on the diagonal.
    """

    pairs: Tensor
    starts: Tensor
    columns: Tensor
    origins: Tensor

    def transition(self, affinity: Tensor, beta: float) -> Tensor:
        """The symmetric matrix of affinities to the power beta with 1 on the diagonal, rows divided by sums.

        Args:
            affinity: `(D, N)` >= 0. Nothing crosses a pair of affinity 0, with `beta` 0 neither.
            beta: Exponent, >= 0.

        Returns:
            `(n, n)` sparse CSR; rows sum to 1.
        """
        pixels = len(self.starts) - 1
        taken = affinity.flatten().index_select(0, self.pairs)
        weight = torch.where(taken > 0, taken**beta, 0)
        # in double precision: over hundreds of steps the error of a row sum is multiplied
        values = torch.cat([weight, weight.new_ones(1)]).index_select(0, self.origins).double()
        lengths = self.starts.diff()
        sums = torch.segment_reduce(values, "sum", lengths=lengths.long())
        values = (values / sums.repeat_interleave(lengths)).to(affinity.dtype)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            # 32 bit indices: half the memory, and a faster product
            return torch.sparse_csr_tensor(
                self.starts, self.columns, values, (pixels, pixels), check_invariants=False
            )


@lru_cache(KEPT_PATTERNS)
def all_pairs(size: tuple[int, int], radius: int, device: torch.device) -> PairMatrix:
    """Pairs of affinities `(D, h * w)` with every pixel as a source, without those that leave the map."""
    return _pair_matrix(torch.ones(size, dtype=torch.bool, device=device), radius)


@lru_cache(KEPT_PATTERNS)
def inner_pairs(size: tuple[int, int], radius: int, device: torch.device) -> PairMatrix:
    """Pairs of affinities `(D, N)` of the sources that `affinity_pairs.source_indices` lists."""
    sources = torch.zeros(size, dtype=torch.bool, device=device)
    sources.view(-1)[source_indices(size, radius, device)] = True
    return _pair_matrix(sources, radius)


def _pair_matrix(sources: Tensor, radius: int) -> PairMatrix:
    """The pattern of a map whose sources `(h, w)` are true."""
    height, width = sources.shape
    offsets = pair_offsets(radius)

    def shifted(values: Tensor, dy: int, dx: int, outside: int) -> Tensor:
        """`(h, w)` values at the offset from each pixel."""
        padded = F.pad(values, (radius,) * 4, value=outside)
        return padded[radius + dy : radius + dy + height, radius + dx : radius + dx + width]

    inside = torch.ones_like(sources, dtype=torch.uint8)
    taken = torch.zeros((len(offsets), height, width), dtype=torch.bool, device=sources.device)
    for index, (dy, dx) in enumerate(offsets):
        taken[index] = sources & (shifted(inside, dy, dx, 0) > 0)
    pairs = taken[:, sources].flatten().nonzero()[:, 0]
    numbers = torch.where(taken, taken.flatten().cumsum(0).view(taken.shape) - 1, -1).int()
    entries = {(0, 0): torch.full_like(sources, len(pairs), dtype=torch.int32)}
    for (dy, dx), own in zip(offsets, numbers, strict=True):
        entries[dy, dx], entries[-dy, -dx] = own, shifted(own, -dy, -dx, -1)
    # in the order of offsets the columns of a row ascend
    around = sorted(entries)
    origins = torch.stack([entries[offset] for offset in around], dim=-1).flatten(0, 1)  # (n, 2 D + 1)
    steps = torch.tensor([dy * width + dx for dy, dx in around], dtype=torch.int32, device=sources.device)
    pixels = torch.arange(height * width, dtype=torch.int32, device=sources.device)
    kept = origins >= 0
    starts = F.pad(kept.sum(dim=1).cumsum(0), (1, 0)).int()
    return PairMatrix(pairs.int(), starts, (pixels[:, None] + steps)[kept], origins[kept])
