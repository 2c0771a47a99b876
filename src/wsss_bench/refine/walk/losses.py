"""What pairs of pixels teach AffinityNet and IRNet, from pseudo masks that leave uncertain pixels out.

Ahn and Kwak, CVPR 2018, https://arxiv.org/abs/1803.10464; Ahn et al., CVPR 2019,
https://arxiv.org/abs/1904.05044, and their programs (psa, irn): sums over the whole batch, of all ranks,
divided by the number of pairs of a kind. A kind that does not occur gives a loss of 0, with a gradient of 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsss_bench.losses.ranks import summed_over_ranks
from wsss_bench.refine.walk.pairs import search_directions, source_pixels, target_pixels
from wsss_bench.types import IGNORE

EPSILON = 1e-5
"""Added to affinities before the logarithm, and to numbers of pairs."""


class PairLabels(NamedTuple):
    """Kinds of pairs, each `(B, D, N)` bool; a pair with an end of 255 is of no kind."""

    background: Tensor  # both ends background
    foreground: Tensor  # both ends the same class
    negative: Tensor  # ends of different labels


def pair_labels(labels: Tensor, radius: int) -> PairLabels:
    """Compare the two ends of all pairs.

    Args:
        labels: `(B, h, w)` integers in {0..C, 255}, at the size of the map that the pairs are of.
        radius: Of the half-disc that pairs are taken from.
    """
    size = (labels.shape[1], labels.shape[2])
    flat = labels.flatten(1)
    source = flat[:, None, source_pixels(size, radius, labels.device)]  # (B, 1, N)
    target = flat[:, target_pixels(size, radius, labels.device)]  # (B, D, N)
    valid = (source != IGNORE) & (target != IGNORE)
    same = valid & (source == target)
    return PairLabels(same & (source == 0), same & (source > 0), valid & (source != target))


class AffinityLoss(NamedTuple):
    """Scalars, not weighted."""

    background: Tensor
    foreground: Tensor
    negative: Tensor


def affinity_loss(affinity: Tensor, pairs: PairLabels) -> AffinityLoss:
    """Mean -log a over pairs that belong together, mean -log(1 - a) over pairs that do not.

    Args:
        affinity: `(B, D, N)` in [0, 1].
        pairs: Their kinds.
    """
    together, apart = -torch.log(affinity + EPSILON), -torch.log(1 + EPSILON - affinity)
    return AffinityLoss(
        _mean(together, pairs.background), _mean(together, pairs.foreground), _mean(apart, pairs.negative)
    )


def displacement_loss(displacement: Tensor, pairs: PairLabels, radius: int) -> tuple[Tensor, Tensor]:
    """Two pixels of one object point to the same centre, pixels of the background nowhere.

    Args:
        displacement: `(B, 2, h, w)` from each pixel to the centre of its object, as (dy, dx) in pixels of the map.
        pairs: Kinds of pairs.
        radius: That the pairs were taken with.

    Returns:
        Mean |D - (dy, dx)| over foreground pairs and mean |D| over background pairs, D = d(source) - d(target).
    """
    size = (displacement.shape[2], displacement.shape[3])
    flat = displacement.flatten(2)
    source = flat[:, :, None, source_pixels(size, radius, flat.device)]  # (B, 2, 1, N)
    difference = source - flat[:, :, target_pixels(size, radius, flat.device)]  # (B, 2, D, N)
    offset = torch.tensor(search_directions(radius), dtype=flat.dtype, device=flat.device).t()[:, :, None]
    foreground = _mean((difference - offset).abs(), pairs.foreground[:, None].expand_as(difference))
    background = _mean(difference.abs(), pairs.background[:, None].expand_as(difference))
    return foreground, background


def _mean(loss: Tensor, kind: Tensor) -> Tensor:
    count, ranks = summed_over_ranks(kind.sum())
    return (loss * kind).sum() * ranks / (count + EPSILON)
