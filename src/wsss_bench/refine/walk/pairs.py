"""Which pairs of pixels are compared, and how alike they are: IRN's affinities from boundaries, PSA's from features.

Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019,
https://arxiv.org/abs/1904.05044; https://github.com/jiwoon-ahn/irn (`misc/indexing.py`). Ahn and
Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly Supervised Semantic Segmentation",
CVPR 2018, https://arxiv.org/abs/1803.10464; https://github.com/jiwoon-ahn/psa.

A pair is a source pixel and a direction `(dy, dx)` out of a half-disc, so that each pair is listed once. With radius r
there are D directions (34 for 5, 152 for 10). Only pixels whose whole half-disc lies inside the map are sources: N of them.
Arrays of pairs are `(..., D, N)`, directions in the order of `search_directions`, sources row by row.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F

Offset = tuple[int, int]


@lru_cache
def search_directions(radius: int) -> tuple[Offset, ...]:
    """Half-disc of directions `(dy, dx)`, shorter than `radius` pixels, those with the fewest pixels on their path first."""
    reach = range(1 - radius, radius)
    half = [(dy, dx) for dy in reach for dx in reach if dy > 0 or (dy == 0 and dx > 0)]
    return tuple(
        sorted((d for d in half if d[0] ** 2 + d[1] ** 2 < radius**2), key=lambda d: (len(path(d)), d))
    )


@lru_cache
def path(direction: Offset) -> tuple[Offset, ...]:
    """Pixels less than one pixel away from the line that a direction draws from (0, 0), both ends included."""
    dy, dx = direction
    rows, columns = range(min(0, dy), max(0, dy) + 1), range(min(0, dx), max(0, dx) + 1)
    limit = dy**2 + dx**2  # squared distance from the line, times this
    return tuple((y, x) for y in rows for x in columns if (dy * x - dx * y) ** 2 < limit)


def source_pixels(size: tuple[int, int], radius: int, device: torch.device | None = None) -> Tensor:
    """Flat indices `(N,)` of the pixels of a map of `size` whose half-disc of `radius` lies inside it.

    Raises:
        ValueError: there is none.
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


def flat_offsets(offsets: tuple[Offset, ...], width: int, device: torch.device | None = None) -> Tensor:
    """What to add to the flat index of a pixel, in a map of `width`, to move it by each of `offsets`."""
    return torch.tensor([dy * width + dx for dy, dx in offsets], dtype=torch.int64, device=device)


def target_pixels(size: tuple[int, int], radius: int, device: torch.device | None = None) -> Tensor:
    """Flat indices `(D, N)` of the second pixels of all pairs."""
    offsets = flat_offsets(search_directions(radius), size[1], device)
    return source_pixels(size, radius, device) + offsets[:, None]


def edge_to_affinity(edge: Tensor, radius: int) -> Tensor:
    """Two pixels are alike unless a boundary lies between them: 1 - the strongest edge on their path.

    Args:
        edge: `(B, h, w)` probabilities of a class boundary, in [0, 1].
        radius: Of the half-disc, in pixels of the map.

    Returns:
        `(B, D, N)` in [0, 1]. The gradient goes to the strongest pixel of each path alone.
    """
    source = source_pixels((edge.shape[1], edge.shape[2]), radius, edge.device)
    flat = edge.flatten(1)
    strongest = []
    for _, group in groupby(search_directions(radius), key=lambda d: len(path(d))):
        paths = torch.stack([flat_offsets(path(d), edge.shape[2], edge.device) for d in group])  # (d, L)
        with torch.no_grad():
            along = flat[:, paths[:, :, None] + source]  # (B, d, L, N), not kept for the gradient
            position = along.argmax(dim=2)  # (B, d, N)
            pixels = source + paths.gather(1, position.permute(1, 0, 2).flatten(1)).view(
                len(paths), len(edge), -1
            ).permute(1, 0, 2)
        strongest.append(flat.gather(1, pixels.flatten(1)).view(pixels.shape))
    return 1 - torch.cat(strongest, dim=1)


def all_pairs_edge_affinity(edge: Tensor, radius: int) -> Tensor:
    """Affinities of every pixel: a frame of certain edges keeps paths that leave the map from joining anything.

    Args:
        edge: `(h, w)` in [0, 1].
        radius: Of the half-disc.

    Returns:
        `(D, h * w)`; 0 where the second pixel lies outside. The source pixels are all pixels, row by row.
    """
    reach = radius - 1
    return edge_to_affinity(F.pad(edge[None], (reach, reach, 0, reach), value=1.0), radius)[0]


def feature_affinity(features: Tensor, radius: int) -> Tensor:
    """Two pixels are alike as far as their features are: exp(-mean over channels of |f_i - f_j|).

    Args:
        features: `(B, F, h, w)`.
        radius: Of the half-disc.

    Returns:
        `(B, D, N)` in (0, 1].
    """
    size = (features.shape[2], features.shape[3])
    source = source_pixels(size, radius, features.device)
    flat = features.flatten(2)
    here = flat[:, :, source]  # (B, F, N)
    # a direction at a time: all of them at once would hold D copies of the features
    distances = [
        (flat[:, :, target] - here).abs().mean(dim=1) for target in target_pixels(size, radius, flat.device)
    ]
    if not distances:  # radius 1 has no directions
        return here.new_ones(len(flat), 0, here.shape[2])
    return torch.exp(-torch.stack(distances, dim=1))
