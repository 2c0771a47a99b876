r"""Cross-entropy on masks: plain, and balanced between background and foreground.

The balanced form is the loss of CLIMS' DeepLab from ImageNet weights (Xie et al., CVPR 2022,
https://github.com/CVI-SZU/CLIMS) and the segmentation loss of AFA, ToCo and their successors (Ru et al., CVPR 2022 and
2023, https://github.com/rulixiang/ToCo).

Means are taken over the pixels of the whole global batch: ranks share their counts of pixels, so that the averaged
gradient of several ranks is that of one process.

Departure: a half without pixels counts 0, where the published loss is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from wsss_bench.types import IGNORE


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the pixels that are not 255.

    Args:
        logits: `(B, 1 + C, h, w)`.
        labels: `(B, h, w)` int64 in {0..C, 255}.

    Returns:
        Scalar; 0 with zero gradient where every pixel is 255.
    """
    return _mean_over(_per_pixel(logits, labels), labels != IGNORE)


def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Half the mean over background pixels plus half the mean over foreground pixels.

    .. math:: \tfrac12 \operatorname{mean}_{y = 0} \ell + \tfrac12 \operatorname{mean}_{0 < y \ne 255} \ell

    Args:
        logits: `(B, 1 + C, h, w)`, background first.
        labels: `(B, h, w)` int64 in {0..C, 255}.

    Returns:
        Scalar; a half without pixels adds 0 and has zero gradient.
    """
    loss = _per_pixel(logits, labels)
    foreground = (labels > 0) & (labels != IGNORE)
    return 0.5 * _mean_over(loss, labels == 0) + 0.5 * _mean_over(loss, foreground)


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Labels `(B, H, W)` int64 at `size`, each the label under the centre of its cell (PIL's nearest)."""
    return F.interpolate(labels[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].long()


def _per_pixel(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"labels are {tuple(labels.shape)} for logits {tuple(logits.shape)}; resize one of them to the other"
        )
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="none")


def _mean_over(loss: Tensor, chosen: Tensor) -> Tensor:
    """Sum over the chosen pixels of this rank over the mean count of a rank."""
    count = chosen.sum()
    ranks = 1
    if distributed.is_available() and distributed.is_initialized():
        ranks = distributed.get_world_size()
        distributed.all_reduce(count)
    return torch.where(chosen, loss, 0).sum() * ranks / count.clamp(min=1)
