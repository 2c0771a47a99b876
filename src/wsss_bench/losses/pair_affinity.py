r"""Pairwise affinity loss: features of patches agree where their labels are equal, and only there.

Ru et al., "Learning Affinity from Attention" (AFA), CVPR 2022, https://arxiv.org/abs/2203.02664, as WeCLIP
(CVPR 2024, https://github.com/zbf1991/WeCLIP) and ExCEL (CVPR 2025, "diversity loss") compute it:

.. math:: \tfrac12 \frac{\sum_+ (1 - A)}{N_+ + 1} + \tfrac12 \frac{\sum_- A}{N_- + 1}

over the pairs of all images, with positive and negative pairs counted over all ranks, so that the averaged
gradient of several ranks equals that of one process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import summed_over_ranks
from wsss_bench.nn.precision import in_float32
from wsss_bench.types import IGNORE


def patch_labels(labels: Tensor, grid: Sequence[int]) -> Tensor:
    """Labels `(B, H, W)` int64 of the pixels -> `(B, h, w)`, that of the first pixel of each patch (AFA).

    `losses.segmentation.resize_labels` takes the pixel in the middle.

    Examples:
        >>> patch_labels(torch.tensor([[[0, 1, 2, 3, 4, 5]]]), (1, 2))
        tensor([[[0, 3]]])
    """
    return F.interpolate(labels[:, None].float(), tuple(grid), mode="nearest")[:, 0].long()


def label_pairs(labels: Tensor, radius: int | None = None) -> Tensor:
    """Pairs of patches: 1 for equal labels, 0 for different ones, 255 for pairs that do not count.

    A patch and itself are an equal pair, and so are two patches of background.

    Args:
        labels: `(B, h, w)` int64 in {0..C, 255}; pairs with a patch of 255 do not count.
        radius: Largest distance of a pair along rows and along columns, in patches; None: any distance.

    Returns:
        `(B, h * w, h * w)` uint8.

    Examples:
        >>> label_pairs(torch.tensor([[[0, 0, 7, 255]]]))
        tensor([[[  1,   1,   0, 255],
                 [  1,   1,   0, 255],
                 [  0,   0,   1, 255],
                 [255, 255, 255, 255]]], dtype=torch.uint8)
    """
    flat = labels.flatten(1)  # (B, n)
    pairs = (flat[:, :, None] == flat[:, None, :]).byte()
    known = flat != IGNORE
    counts = known[:, :, None] & known[:, None, :]
    if radius is not None:
        counts = counts & _window(labels.shape[1], labels.shape[2], radius, labels.device)
    return pairs.masked_fill(~counts, IGNORE)


@in_float32
def pair_affinity_loss(affinity: Tensor, pairs: Tensor) -> Tensor:
    """The loss; in float32, since sums run over all pairs.

    Args:
        affinity: `(B, n, n)` in [0, 1].
        pairs: `(B, n, n)` of `label_pairs`.

    Returns:
        Scalar in [0, 1]; a kind of pairs that does not occur adds 0.

    Examples:
        >>> pairs = label_pairs(torch.tensor([[[0, 7]]]))  # two equal pairs, two different ones
        >>> pair_affinity_loss(torch.full((1, 2, 2), 0.5), pairs)  # half of 1 / 3 and half of 1 / 3
        tensor(0.3333)
    """
    positive = _mean_over(1 - affinity, pairs == 1)
    negative = _mean_over(affinity, pairs == 0)
    return 0.5 * positive + 0.5 * negative


def _window(height: int, width: int, radius: int, device: torch.device) -> Tensor:
    """`(n, n)` bool: pairs of places that are at most `radius` rows and columns apart."""
    row, column = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    near = [(axis.flatten()[:, None] - axis.flatten()).abs() <= radius for axis in (row, column)]
    return near[0] & near[1]


def _mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """This rank's part of the mean over the chosen pairs of all ranks, with 1 added to their number."""
    count, ranks = summed_over_ranks(chosen.sum())
    return (values * chosen).sum() * ranks / (count + 1)
