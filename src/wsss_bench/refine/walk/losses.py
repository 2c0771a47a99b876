"""Training losses of AffinityNet and IRNet on pairs of pixels.

Ahn and Kwak, CVPR 2018, https://arxiv.org/abs/1803.10464; Ahn et al., CVPR 2019,
https://arxiv.org/abs/1904.05044, and their code (jiwoon-ahn/psa, jiwoon-ahn/irn).

The pseudo masks leave uncertain pixels out (255). Each loss is a sum over the whole batch, of all ranks,
divided by the number of pairs of its kind. A kind without pairs gives a loss of 0 with a gradient of 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsss_bench.losses.ranks import summed_over_ranks
from wsss_bench.nn.precision import in_float32
from wsss_bench.refine.walk.affinity_pairs import pair_offsets, source_indices, target_indices
from wsss_bench.transfer import to_device
from wsss_bench.types import IGNORE

EPSILON = 1e-5
"""Added to affinities before the logarithm, and to numbers of pairs."""


class PairLabels(NamedTuple):
    """The kind of each pair, `(B, D, N)` bool each; a pair with a pixel of label 255 is of no kind."""

    background: Tensor  # both pixels are background
    foreground: Tensor  # both pixels are of the same class
    negative: Tensor  # the pixels have different labels


def pair_labels(labels: Tensor, radius: int) -> PairLabels:
    """Compare the labels of the two pixels of each pair.

    Args:
        labels: `(B, h, w)` integer masks in {0..C, 255}, at the size of the map that the pairs belong to.
        radius: Radius of the half-disc, in pixels of the map.
    """
    size = (labels.shape[1], labels.shape[2])
    flat = labels.flatten(1)
    source = flat[:, None, source_indices(size, radius, labels.device)]  # (B, 1, N)
    target = flat[:, target_indices(size, radius, labels.device)]  # (B, D, N)
    valid = (source != IGNORE) & (target != IGNORE)
    same = valid & (source == target)
    return PairLabels(same & (source == 0), same & (source > 0), valid & (source != target))


class AffinityLoss(NamedTuple):
    """Unweighted losses of the three kinds of pairs, scalars."""

    background: Tensor
    foreground: Tensor
    negative: Tensor


@in_float32
def affinity_loss(affinity: Tensor, pairs: PairLabels) -> AffinityLoss:
    """Mean of -log a over background and over foreground pairs, mean of -log(1 - a) over negative pairs.

    Args:
        affinity: `(B, D, N)` in [0, 1].
        pairs: The kind of each pair.
    """
    positive, negative = -torch.log(affinity + EPSILON), -torch.log(1 + EPSILON - affinity)
    return AffinityLoss(
        _mean(positive, pairs.background), _mean(positive, pairs.foreground), _mean(negative, pairs.negative)
    )


@in_float32
def displacement_loss(displacement: Tensor, pairs: PairLabels, radius: int) -> tuple[Tensor, Tensor]:
    """IRN's losses of the displacement field.

    The displacements of two pixels of one object should end at the same centre, so that their difference is
    the offset of the pair; in the background they should be equal.

    Args:
        displacement: `(B, 2, h, w)` from each pixel to the centre of its object, as (dy, dx) in pixels of the
            map.
        pairs: The kind of each pair.
        radius: Radius of the half-disc that the pairs were made with.

    Returns:
        Foreground and background loss, with delta = d(source) - d(target): mean of |delta - (dy, dx)| over
        foreground pairs, mean of |delta| over background pairs.
    """
    size = (displacement.shape[2], displacement.shape[3])
    flat = displacement.flatten(2)
    source = flat[:, :, None, source_indices(size, radius, flat.device)]  # (B, 2, 1, N)
    delta = source - flat[:, :, target_indices(size, radius, flat.device)]  # (B, 2, D, N)
    offset = to_device(torch.tensor(pair_offsets(radius), dtype=flat.dtype), flat.device).t()[:, :, None]
    foreground = _mean((delta - offset).abs(), pairs.foreground[:, None].expand_as(delta))
    background = _mean(delta.abs(), pairs.background[:, None].expand_as(delta))
    return foreground, background


def _mean(loss: Tensor, kind: Tensor) -> Tensor:
    """Mean over the pairs of one kind in the batch of all ranks."""
    count, ranks = summed_over_ranks(kind.sum())
    # times the number of ranks, since gradients are averaged over ranks
    return (loss * kind).sum() * ranks / (count + EPSILON)
