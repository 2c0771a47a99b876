"""Labels of a pair of images: what it has in common, and what each image has alone.

Sun et al., "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation" (MCIS), ECCV 2020, sections 3.1 and 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import summed_over_ranks


def common_and_different(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Multi-hot `(B, C)` labels -> common classes `l1 AND l2`, and those of the first and of the second image alone."""
    common = first * second
    return common, first - common, second - common


def contrast_loss(logits: Tensor, difference: Tensor) -> Tensor:
    """Classification of what is left of an image without what it shares with its partner.

    The mean over *all* rows and classes: an image whose difference is empty must have nothing left. Only where not one image
    of the global batch has a class of its own, the loss is 0 (with gradients that are zero, not absent, so that weight decay
    and momentum go on).

    Args:
        logits: `(B, C)`.
        difference: `(B, C)` multi-hot, the classes that the partner has not.
    """
    active, _ = summed_over_ranks(difference.any().to(logits.dtype))
    return active.clamp(max=1) * F.multilabel_soft_margin_loss(logits, difference)


def stacked_loss(logits: list[Tensor], labels: list[Tensor]) -> Tensor:
    """Multi-label soft margin loss, the mean over the rows of several `(B, C)` together and over classes."""
    return F.multilabel_soft_margin_loss(torch.cat(logits), torch.cat(labels))
