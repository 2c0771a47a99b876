"""Random walk over the pixels of a map, which propagates class scores to pixels of high affinity.

Ahn and Kwak, CVPR 2018, https://arxiv.org/abs/1803.10464; Ahn et al., CVPR 2019,
https://arxiv.org/abs/1904.05044, section 5.

The transition matrix T holds the affinities to the power beta, with 1 on the diagonal and columns that sum to
1. The result of t steps is `maps @ T^t`. The authors' code squares a dense T: time O(log t * n^3) and memory
O(n^2) for n pixels. Here T is sparse, with at most 2 D + 1 entries per column (69 at radius 5), and is
applied t times to the K maps: **time O(t * D * n * K), memory O(D * n + K * n)**. This is the same product in
another order, equal up to rounding.
"""

from __future__ import annotations

from torch import Tensor

from wsss_bench.refine.walk.affinity_pairs import padded_boundary_affinity
from wsss_bench.refine.walk.pair_matrix import all_pairs, inner_pairs

MAX_DOUBLINGS = 16
"""Largest binary logarithm of the number of steps of a walk; more steps only take time."""


def boundary_transition_matrix(boundary_map: Tensor, radius: int, beta: float) -> Tensor:
    """IRN's transition matrix, transposed.

    Args:
        boundary_map: `(h, w)` probabilities of a class boundary, in [0, 1].
        radius: Radius of the half-disc of pairs, in pixels of the map.
        beta: Exponent of the affinities; the larger, the less score crosses a weak boundary.

    Returns:
        `(n, n)` sparse CSR, n = h * w; rows sum to 1.
    """
    affinity = padded_boundary_affinity(boundary_map, radius)  # (D, n)
    height, width = boundary_map.shape
    return all_pairs((height, width), radius, boundary_map.device).transition(affinity, beta)


def feature_transition_matrix(affinity: Tensor, size: tuple[int, int], radius: int, beta: float) -> Tensor:
    """PSA's transition matrix, transposed.

    Args:
        affinity: `(D, N)` of the pairs of a map.
        size: `(h, w)` of the map.
        radius: Radius of the half-disc that the pairs were made with.
        beta: Exponent of the affinities.

    Returns:
        `(n, n)` sparse CSR, n = h * w; rows sum to 1. Pixels near the border are no sources and so have fewer
        pairs, as published.
    """
    return inner_pairs(size, radius, affinity.device).transition(affinity, beta)


def random_walk(maps: Tensor, transition: Tensor, steps: int) -> Tensor:
    """Propagate maps by a number of steps.

    Args:
        maps: `(K, h, w)` scores.
        transition: `(h * w, h * w)` sparse CSR with rows that sum to 1: the transpose of the papers' T.
        steps: t, 2^8 in both papers.

    Returns:
        `(K, h, w)`. A constant map stays constant.
    """
    scores = maps.flatten(1).t().contiguous()  # (n, K)
    for _ in range(steps):
        scores = transition @ scores
    return scores.t().reshape(maps.shape)
