r"""Patch token contrast (PTC): similar tokens for patches of one label, dissimilar tokens for different
labels.

Ru et al., ToCo, CVPR 2023, https://arxiv.org/abs/2303.01267, equation 3, and
https://github.com/rulixiang/ToCo:
:math:`\tfrac12 (1 - \tfrac{\sum_+ |\cos|}{N_+ + 1}) + \tfrac12 \tfrac{\sum_- |\cos|}{N_- + 1}`
over all pairs of patches of an image, for all images of the batch.

Pairs are counted over all ranks, so that the averaged gradient of several ranks equals that of one process.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import summed_over_ranks
from wsss_bench.nn.precision import in_float32
from wsss_bench.types import IGNORE


def affinity_mask(labels: Tensor) -> Tensor:
    """Affinity of the patches of each image: 1 for equal labels, 0 for different labels, 255 for ignored.

    A pair is ignored if one of its labels is 255, or if it pairs a patch with itself.

    Args:
        labels: `(B, h, w)` int64 in {0..C, 255}.

    Returns:
        `(B, h * w, h * w)` int64.
    """
    flat = labels.flatten(1)
    affinity = (flat[:, :, None] == flat[:, None, :]).long()
    ignored = flat == IGNORE
    diagonal = torch.eye(flat.shape[1], dtype=torch.bool, device=flat.device)
    return affinity.masked_fill(ignored[:, :, None] | ignored[:, None, :] | diagonal, IGNORE)


@in_float32
def patch_token_contrast(patches: Tensor, affinity: Tensor) -> Tensor:
    """The PTC loss.

    Args:
        patches: `(B, D, h, w)` patch tokens.
        affinity: `(B, h * w, h * w)` of `affinity_mask`.

    Returns:
        Scalar in [0, 1]; without positive pairs their half of the loss is the constant 1/2.
    """
    unit = F.normalize(patches.flatten(2), dim=1, eps=1e-8)
    cosine = (unit.transpose(1, 2) @ unit).abs()  # (B, N, N)
    positive, negative = (_mean_over(cosine, affinity == kind) for kind in (1, 0))
    return 0.5 * (1 - positive) + 0.5 * negative


def _mean_over(cosine: Tensor, pairs: Tensor) -> Tensor:
    """This rank's part of the mean over the chosen pairs of all ranks, with 1 added to their number."""
    count, ranks = summed_over_ranks(pairs.sum())
    return (cosine * pairs).sum() * ranks / (count + 1)
