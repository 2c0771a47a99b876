r"""Class-aware attention affinity: maps spread along the attention of a ViT, inside boxes.

Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023, https://arxiv.org/abs/2212.09506,
section 3.4; WeCLIP (CVPR 2024) and ExCEL (CVPR 2025) use the same. With attention `A` between `n` patches,
`D = sinkhorn(A)`, a map `m` and its boxes `b`,

.. math:: S = (D + D^T) / 2, \qquad m' = S^2 (b \odot m)

The square is never computed: two products with `S` take `2 n^2` operations for a map instead of `n^3`, and a
grid of 60x80 patches needs one matrix of 92 MB.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_bench.nn.component_boxes import box_masks

SINKHORN_ROUNDS = 3
EPSILON = 1e-7
"""Added to a maximum before dividing by it."""


def transition(attention: Tensor) -> Tensor:
    """Attention between patches -> one step `S` of the affinity.

    Args:
        attention: `(B, n, n)` >= 0, rows for queries, without the class token.

    Returns:
        `(B, n, n)` float32, symmetric: columns and then rows divided by their sums, three times, and the mean
        with the transpose.
    """
    step = attention.float()
    for _ in range(SINKHORN_ROUNDS):
        step = step / step.sum(dim=1, keepdim=True)
        step /= step.sum(dim=2, keepdim=True)
    return (step + step.mT) / 2


def spread(step: Tensor, maps: Tensor, box_threshold: float | None) -> Tensor:
    """Spread maps by two steps of the affinity, in float32; what lies outside of the boxes does not spread.

    Args:
        step: `(B, n, n)`, as of `transition`, for a grid of `n = h w` patches.
        maps: `(B, K, h, w)` in [0, 1].
        box_threshold: Share of the maximum of a map whose regions have a box; None: no boxes.

    Returns:
        `(B, K, h, w)` float32 >= 0, of any maximum.
    """
    maps = maps.float()
    sources = maps if box_threshold is None else maps * box_masks(maps, box_threshold)
    columns = sources.flatten(2).mT  # (B, n, K)
    with torch.autocast(maps.device.type, enabled=False):
        return (step @ (step @ columns)).mT.unflatten(2, maps.shape[2:])


def spread_along(attention: Tensor, maps: Tensor, box_threshold: float | None) -> Tensor:
    """Maps `(B, K, h, w)` in [0, 1], spread along attention `(B, n, n)` -> `(B, K, h, w)` in [0, 1)."""
    return min_max(spread(transition(attention), maps, box_threshold))


def min_max(maps: Tensor) -> Tensor:
    """Each map of `(..., h, w)` minus its minimum, divided by what is then its maximum plus 1e-7."""
    maps = maps - maps.amin(dim=(-2, -1), keepdim=True)
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + EPSILON)
