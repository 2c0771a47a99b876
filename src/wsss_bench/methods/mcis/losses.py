"""Labels and losses of an image pair: common and unshared classes.

Sun et al., "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation" (MCIS), ECCV 2020,
sections 3.1 and 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_bench.losses.classification import multilabel_soft_margin
from wsss_bench.losses.ranks import summed_over_ranks
from wsss_bench.nn.precision import in_float32


def common_and_unshared_labels(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split the labels of a pair into common and unshared classes.

    Args:
        first: `(B, C)` multi-hot labels `l1` of the first images.
        second: `(B, C)` multi-hot labels `l2` of the second images.

    Returns:
        Three `(B, C)` multi-hot tensors: common classes `l1 AND l2`, unshared classes of the first images,
        unshared classes of the second images.
    """
    common = first * second
    return common, first - common, second - common


@in_float32
def contrastive_coattention_loss(logits: Tensor, unshared: Tensor) -> Tensor:
    """Multi-label loss of contrastive co-attention, for features outside the mask of the common objects.

    The mean runs over *all* rows and classes: an image without unshared classes must show no class. The loss
    is 0 only if no image of the global batch has an unshared class. Its gradients are then zero, not absent,
    so that weight decay and momentum still act.

    Args:
        logits: `(B, C)` logits of the unshared class maps.
        unshared: `(B, C)` multi-hot, the classes of the image that its partner does not have.
    """
    active, _ = summed_over_ranks(unshared.any().to(logits.dtype))
    return active.clamp(max=1) * multilabel_soft_margin(logits, unshared)


@in_float32
def classification_loss(logits: list[Tensor], labels: list[Tensor]) -> Tensor:
    """Multi-label soft margin loss of several `(B, C)` logits: one mean over all their rows and classes."""
    return multilabel_soft_margin(torch.cat(logits), torch.cat(labels))
