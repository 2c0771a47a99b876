"""Affinity pairs: which pixels are compared, and how similar they are.

IRN takes affinities from a class boundary map, PSA from features.

Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR
2019, https://arxiv.org/abs/1904.05044; https://github.com/jiwoon-ahn/irn (`misc/indexing.py`). Ahn and Kwak,
"Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly Supervised Semantic
Segmentation", CVPR 2018, https://arxiv.org/abs/1803.10464; https://github.com/jiwoon-ahn/psa.

A pair consists of a source pixel and a target pixel, which is the source plus an offset `(dy, dx)`. The
offsets fill one half of a disc, so that each pair is listed once. Radius r gives D offsets (34 for r = 5, 152
for r = 10). Only pixels whose whole half-disc lies inside the map are sources; N is their number. Arrays of
pairs are `(..., D, N)`, with offsets in the order of `pair_offsets` and sources row by row.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.transfer import to_device

Offset = tuple[int, int]


@lru_cache
def pair_offsets(radius: int) -> tuple[Offset, ...]:
    """The D offsets `(dy, dx)` from source to target: shorter than `radius`, sorted by path length."""
    reach = range(1 - radius, radius)
    half = [(dy, dx) for dy in reach for dx in reach if dy > 0 or (dy == 0 and dx > 0)]
    return tuple(
        sorted((o for o in half if o[0] ** 2 + o[1] ** 2 < radius**2), key=lambda o: (len(path_pixels(o)), o))
    )


@lru_cache
def path_pixels(offset: Offset) -> tuple[Offset, ...]:
    """The path from (0, 0) to `offset`: pixels less than one pixel away from the line, both ends included."""
    dy, dx = offset
    rows, columns = range(min(0, dy), max(0, dy) + 1), range(min(0, dx), max(0, dx) + 1)
    # the distance of (y, x) from the line is |dy * x - dx * y| / sqrt(dy^2 + dx^2)
    squared_length = dy**2 + dx**2
    return tuple((y, x) for y in rows for x in columns if (dy * x - dx * y) ** 2 < squared_length)


def source_indices(size: tuple[int, int], radius: int, device: torch.device | None = None) -> Tensor:
    """Flat indices of the source pixels, those whose half-disc lies inside the map.

    Args:
        size: `(h, w)` of the map.
        radius: Radius of the half-disc, in pixels of the map.
        device: Device of the result.

    Returns:
        `(N,)` int64 indices into the flattened map.

    Raises:
        ValueError: the map is too small for any pair.
    """
    height, width = size
    reach = radius - 1
    if height <= reach or width <= 2 * reach:
        raise ValueError(
            f"a map of {height} x {width} has no pair of pixels of radius {radius}; it needs at least "
            f"{reach + 1} x {2 * reach + 1}: lower the radius, or give larger images"
        )
    pixels = torch.arange(height * width, device=device).view(height, width)
    return pixels[: height - reach, reach : width - reach].flatten()


def flat_index_offsets(offsets: tuple[Offset, ...], width: int, device: torch.device | None = None) -> Tensor:
    """Offsets `(dy, dx)` as int64 differences of flat indices, dy * width + dx, in a map of this width."""
    differences = torch.tensor([dy * width + dx for dy, dx in offsets], dtype=torch.int64)
    return to_device(differences, device or differences.device)


def target_indices(size: tuple[int, int], radius: int, device: torch.device | None = None) -> Tensor:
    """Flat indices `(D, N)` of the target pixels of all pairs; arguments and errors as `source_indices`."""
    offsets = flat_index_offsets(pair_offsets(radius), size[1], device)
    return source_indices(size, radius, device) + offsets[:, None]


def boundary_affinity(boundary_map: Tensor, radius: int) -> Tensor:
    """IRN's affinity of a pair: 1 - the highest boundary probability on the path between its pixels.

    Args:
        boundary_map: `(B, h, w)` probabilities of a class boundary, in [0, 1].
        radius: Radius of the half-disc, in pixels of the map.

    Returns:
        `(B, D, N)` in [0, 1]. The gradient of a pair goes to the path's highest pixel only.

    Raises:
        ValueError: the map is too small for any pair.
    """
    size = (boundary_map.shape[1], boundary_map.shape[2])
    source = source_indices(size, radius, boundary_map.device)
    flat = boundary_map.flatten(1)
    highest = []
    # paths of equal length are gathered together
    for _, group in groupby(pair_offsets(radius), key=lambda o: len(path_pixels(o))):
        paths = torch.stack(
            [flat_index_offsets(path_pixels(o), size[1], boundary_map.device) for o in group]
        )  # (d, L)
        with torch.no_grad():
            # the largest tensor here, not kept for the backward pass
            along_path = flat[:, paths[:, :, None] + source]  # (B, d, L, N)
            position = along_path.argmax(dim=2)  # (B, d, N)
            pixels = source + paths.gather(1, position.permute(1, 0, 2).flatten(1)).view(
                len(paths), len(boundary_map), -1
            ).permute(1, 0, 2)
        highest.append(flat.gather(1, pixels.flatten(1)).view(pixels.shape))
    return 1 - torch.cat(highest, dim=1)


def padded_boundary_affinity(boundary_map: Tensor, radius: int) -> Tensor:
    """IRN's affinities with every pixel of the map as a source.

    The map is padded with boundary probability 1, so that pairs whose target lies outside have affinity 0.

    Args:
        boundary_map: `(h, w)` probabilities of a class boundary, in [0, 1].
        radius: Radius of the half-disc, in pixels of the map.

    Returns:
        `(D, h * w)` in [0, 1]; sources are all pixels, row by row.
    """
    height, width = boundary_map.shape
    reach = radius - 1
    padded = F.pad(boundary_map[None], (reach, reach, 0, reach), value=1.0)[0]
    highest = boundary_map.new_empty(len(pair_offsets(radius)), height, width)
    for result, offset in zip(highest, pair_offsets(radius), strict=True):
        result.copy_(boundary_map)
        for dy, dx in path_pixels(offset):
            # a path of shifted views; an index for each pixel of each path would take ten times as long
            torch.maximum(result, padded[dy : dy + height, reach + dx : reach + dx + width], out=result)
    return 1 - highest.flatten(1)


def feature_affinity(features: Tensor, radius: int) -> Tensor:
    """PSA's affinity of a pair: exp(-mean over channels of |f_source - f_target|).

    Args:
        features: `(B, F, h, w)`.
        radius: Radius of the half-disc, in pixels of the map.

    Returns:
        `(B, D, N)` in (0, 1].

    Raises:
        ValueError: the map is too small for any pair.
    """
    size = (features.shape[2], features.shape[3])
    source = source_indices(size, radius, features.device)
    flat = features.flatten(2)
    source_features = flat[:, :, source]  # (B, F, N)
    # one offset at a time: all of them at once would hold D copies of the features
    distances = [
        (flat[:, :, target] - source_features).abs().mean(dim=1)
        for target in target_indices(size, radius, flat.device)
    ]
    # radius 1 has no offsets
    if not distances:
        return source_features.new_ones(len(flat), 0, source_features.shape[2])
    return torch.exp(-torch.stack(distances, dim=1))
