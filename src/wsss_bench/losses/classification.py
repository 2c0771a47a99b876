"""Multi-label classification: the loss that image labels train a classifier with."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from wsss_bench.nn.precision import in_float32


@in_float32
def multilabel_soft_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of each class, the mean over images and classes.

    Args:
        logits: `(B, C)`.
        labels: `(B, C)` multi-hot.
    """
    return F.multilabel_soft_margin_loss(logits, labels)
