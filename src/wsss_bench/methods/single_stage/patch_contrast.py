r"""Patch token contrast: patches of one label alike, patches of different labels apart.

Ru et al., ToCo, CVPR 2023, https://arxiv.org/abs/2303.01267, equation 3, and https://github.com/rulixiang/ToCo:
:math:`\tfrac12 (1 - \tfrac{\sum_+ |\cos|}{N_+ + 1}) + \tfrac12 \tfrac{\sum_- |\cos|}{N_- + 1}` over all pairs of patches of
the batch.

Pairs are counted over all ranks, so that the averaged gradient of several ranks is that of one process.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import summed_over_ranks
from wsss_bench.types import IGNORE


def pair_labels(labels: Tensor) -> Tensor:
    """Pairs of patches of each image: 1 of one label, 0 of different labels, 255 to skip (an end is 255, or both are one).

    Args:
        labels: `(B, h, w)` int64 in {0..C, 255}.

    Returns:
        `(B, h * w, h * w)` int64.
    """
    flat = labels.flatten(1)
    pairs = (flat[:, :, None] == flat[:, None, :]).long()
    ignored = flat == IGNORE
    itself = torch.eye(flat.shape[1], dtype=torch.bool, device=flat.device)
    return pairs.masked_fill(ignored[:, :, None] | ignored[:, None, :] | itself, IGNORE)


def patch_token_contrast(patches: Tensor, pairs: Tensor) -> Tensor:
    """The loss.

    Args:
        patches: `(B, D, h, w)` tokens.
        pairs: `(B, h * w, h * w)` of `pair_labels`.

    Returns:
        Scalar in [0, 1]; it keeps a constant 1/2 where no pair is alike.
    """
    unit = F.normalize(patches.float().flatten(2), dim=1, eps=1e-8)
    cosine = (unit.transpose(1, 2) @ unit).abs()  # (B, N, N)
    alike, apart = (_mean_over(cosine, pairs == kind) for kind in (1, 0))
    return 0.5 * (1 - alike) + 0.5 * apart


def _mean_over(cosine: Tensor, chosen: Tensor) -> Tensor:
    count, ranks = summed_over_ranks(chosen.sum())
    return (cosine * chosen).sum() * ranks / (count + 1)
