"""Random walk on the pixels of a map, which carries class scores to places that look alike.

Ahn and Kwak, CVPR 2018, https://arxiv.org/abs/1803.10464; Ahn et al., CVPR 2019,
https://arxiv.org/abs/1904.05044, section 5.

T is the matrix of affinities to the power beta, of unit diagonal, with columns that sum to 1; the result is `maps @ T^t`.
The official programs square a dense T: time O(log t * n^3) and memory O(n^2) for n pixels. Here T stays sparse, with at
most 2 D + 1 entries a column (69 at radius 5), and is applied t times to the K maps: **time O(t * D * n * K), memory O(D *
n + K * n)**. It is the same product in another order, exact up to rounding.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from wsss_bench.refine.walk.pairs import (
    all_pairs_edge_affinity,
    flat_offsets,
    search_directions,
    source_pixels,
    target_pixels,
)


def edge_transition(edge: Tensor, radius: int, beta: float) -> Tensor:
    """IRN's transition matrix, transposed.

    Args:
        edge: `(h, w)` probabilities of a class boundary, in [0, 1].
        radius: Of the half-disc that pairs are taken from.
        beta: Exponent on affinities; the larger, the less passes a weak boundary.

    Returns:
        `(n, n)` sparse CSR, n = h * w; rows sum to 1.
    """
    height, width = edge.shape
    affinity = all_pairs_edge_affinity(edge, radius)  # (D, n)
    offsets = flat_offsets(search_directions(radius), width, edge.device)
    source = torch.arange(height * width, device=edge.device)
    joined = affinity > 0  # never a pair that leaves the map
    target = (source + offsets[:, None])[joined]
    return _normalized(source.expand_as(affinity)[joined], target, affinity[joined] ** beta, height * width)


def feature_transition(affinity: Tensor, size: tuple[int, int], radius: int, beta: float) -> Tensor:
    """PSA's transition matrix, transposed.

    Args:
        affinity: `(D, N)` of the pairs of a map of `size`.
        size: `(h, w)`.
        radius: Of the half-disc that pairs were taken from.
        beta: Exponent on affinities.

    Returns:
        `(n, n)` sparse CSR, n = h * w; rows sum to 1. Pixels at the rim are no sources and so have fewer pairs, as published.
    """
    source = source_pixels(size, radius, affinity.device).expand_as(affinity)
    target = target_pixels(size, radius, affinity.device)
    return _normalized(source.flatten(), target.flatten(), affinity.flatten() ** beta, size[0] * size[1])


def random_walk(maps: Tensor, transition: Tensor, steps: int) -> Tensor:
    """Walk `steps` steps.

    Args:
        maps: `(K, h, w)` scores.
        transition: `(h * w, h * w)` sparse CSR whose rows sum to 1: the transpose of the T of the papers.
        steps: t, 2^8 in both papers.

    Returns:
        `(K, h, w)`. A constant map stays constant.
    """
    scores = maps.flatten(1).t().contiguous()  # (n, K)
    for _ in range(steps):
        scores = transition @ scores
    return scores.t().reshape(maps.shape)


def _normalized(source: Tensor, target: Tensor, weight: Tensor, pixels: int) -> Tensor:
    """Symmetric matrix of the pairs, unit diagonal, each row divided by its sum."""
    diagonal = torch.arange(pixels, device=source.device)
    rows = torch.cat([source, target, diagonal])
    columns = torch.cat([target, source, diagonal])
    values = torch.cat([weight, weight, torch.ones_like(diagonal, dtype=weight.dtype)])
    order = torch.argsort(rows * pixels + columns)
    rows, columns, values = rows[order], columns[order], values[order].double()
    sums = torch.zeros(pixels, dtype=torch.double, device=values.device).index_add_(0, rows, values)
    values = (values / sums[rows]).to(weight.dtype)  # hundreds of steps multiply what a row lacks to 1
    starts = torch.zeros(pixels + 1, dtype=torch.int32, device=rows.device)
    starts[1:] = torch.bincount(rows, minlength=pixels).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        # 32 bit indices: half the memory, and a faster product
        return torch.sparse_csr_tensor(
            starts, columns.int(), values, (pixels, pixels), check_invariants=False
        )
