"""The token cross entropy of CoDe's text segmenter."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import summed_over_ranks


def word_segmentation(logits: Tensor, labels: Tensor, none_weight: float = 0.5, ignore: int = -1) -> Tensor:
    """Weighted mean over the labelled tokens of all ranks; 0 where there are none.

    Wu et al., CVPR 2024, https://arxiv.org/abs/2404.04231: the nouns of a caption against those not drawn.

    Args:
        logits: `(B, N + 1, L)`.
        labels: `(B, L)` int64 in `{0..N}`, or `ignore`.
        none_weight: Weight of label 0; the others have 1.
        ignore: Label of tokens without a target.
    """
    weight = logits.new_ones(logits.shape[1])
    weight[0] = none_weight
    weights = torch.where(labels == ignore, 0.0, weight[labels.clamp(min=0)])  # (B, L)
    losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=ignore)  # (B, L)
    total, ranks = summed_over_ranks(weights.sum())
    return (weights * losses).sum() * ranks / total.clamp(min=1e-6)
