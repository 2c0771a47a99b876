r"""Cross-entropy on masks: plain, and balanced between background and foreground.

The balanced form is the loss of CLIMS' DeepLab from ImageNet weights (Xie et al., CVPR 2022,
https://github.com/CVI-SZU/CLIMS) and the segmentation loss of AFA, ToCo and their successors (Ru et al., CVPR
2022 and 2023, https://github.com/rulixiang/ToCo).

Means are over the pixels of the global batch (all ranks).

Departure: a half without pixels is 0, where the published loss is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import mean_over_valid
from wsss_bench.nn.precision import in_float32
from wsss_bench.types import IGNORE


@in_float32
def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the pixels that are not 255.

    Args:
        logits: `(B, 1 + C, h, w)`.
        labels: `(B, h, w)` int64 in {0..C, 255}.

    Returns:
        Scalar; 0 with zero gradient if all pixels are 255.
    """
    return mean_over_valid(_per_pixel(logits, labels), labels != IGNORE)


@in_float32
def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Half the mean over background pixels plus half the mean over foreground pixels.

    .. math:: \tfrac12 \operatorname{mean}_{y = 0} \ell + \tfrac12 \operatorname{mean}_{0 < y \ne 255} \ell

    Args:
        logits: `(B, 1 + C, h, w)`, background first.
        labels: `(B, h, w)` int64 in {0..C, 255}.

    Returns:
        Scalar; a half without pixels is 0 and has zero gradient.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[[[9.0, 9.0, 9.0, 0.0]], [[-9.0, -9.0, -9.0, 0.0]]]])
        >>> labels = torch.tensor([[[0, 0, 0, 1]]])  # three pixels that are right, and an object at one half
        >>> cross_entropy(logits, labels), balanced_cross_entropy(logits, labels)
        (tensor(0.1733), tensor(0.3466))
    """
    loss = _per_pixel(logits, labels)
    foreground = (labels > 0) & (labels != IGNORE)
    return 0.5 * mean_over_valid(loss, labels == 0) + 0.5 * mean_over_valid(loss, foreground)


@in_float32
def cross_entropy_per_image(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the pixels of each image, then over images.

    Several ranks with equal shares of a batch so train what one process trains.

    Args:
        logits: `(B, 1 + C, h, w)`.
        labels: `(B, h, w)` int64 in {0..C, 255}.

    Returns:
        Scalar; an image that is 255 everywhere adds 0.
    """
    valid = (labels != IGNORE).sum(dim=(1, 2)).clamp(min=1)
    return (_per_pixel(logits, labels).sum(dim=(1, 2)) / valid).mean()


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Resize labels `(B, H, W)` int64 to `size` by nearest neighbour at cell centres, as PIL does.

    Examples:
        >>> import torch
        >>> resize_labels(torch.tensor([[[0, 1, 2, 3, 4, 5]]]), (1, 2))
        tensor([[[1, 4]]])
    """
    return F.interpolate(labels[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].long()


def _per_pixel(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"labels are {tuple(labels.shape)} for logits {tuple(logits.shape)}; "
            "resize one of them to the other"
        )
    return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
