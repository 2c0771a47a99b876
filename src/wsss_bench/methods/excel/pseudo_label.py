"""From class maps to pseudo labels: spread along the attention, refine by the colours, take the best class.

ExCEL (CVPR 2025), as in the authors' code, `utils/affutils.py`; without gradient.

Departures: padding becomes 255 (published: labelled like the image); an image without labels is background.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.nn.attention_affinity import min_max, spread, transition
from wsss_bench.nn.par import PAR
from wsss_bench.types import IGNORE


def mean_attention(attention: Tensor) -> Tensor:
    """Attention `(A, B, n, n)` of several blocks -> `(B, n, n)`, before anything is trained."""
    return attention.mean(dim=0)


def chosen_attention(attention: Tensor, affinity: Tensor) -> Tensor:
    """Mean of the blocks that are chosen by a learned affinity, times this affinity.

    A block is chosen if the sum of its weights is at least the mean over blocks of this sum. Since sums and
    means over heads differ by the number of heads, this drops the blocks that are no sums.

    Args:
        attention: `(A, B, n, n)`.
        affinity: `(B, n, n)` in [0, 1].

    Returns:
        `(B, n, n)`.
    """
    gap = (affinity - attention).sum(dim=(2, 3))  # (A, B)
    kept = (gap <= gap.mean(dim=0)).to(attention.dtype)
    total = torch.einsum("ab,abij->bij", kept, attention)
    return total / (kept.sum(dim=0)[:, None, None] + 1e-5) * affinity


def refine_by_attention(maps: Tensor, attention: Tensor, box_threshold: float) -> Tensor:
    """Spread class maps `(B, C, h, w)` along the attention `(B, n, n)`, from within their boxes.

    Returns:
        `(B, C, h, w)` float32 in [0, 1).
    """
    return min_max(spread(transition(attention), maps, box_threshold))


@torch.no_grad()
def pseudo_label(image: Tensor, maps: Tensor, labels: Tensor, valid: Tensor, refine: PAR | None) -> Tensor:
    """Refined class maps -> labels of the pixels.

    Args:
        image: `(B, 3, H, W)` in [0, 1].
        maps: `(B, C, h, w)` in [0, 1].
        labels: `(B, C)` multi-hot; absent classes are not considered.
        valid: `(B, H, W)` bool; False (padding) becomes 255.
        refine: Refines background and classes by the colours; None: a pixel is a class above one half.

    Returns:
        `(B, H, W)` int64 in {0..C, 255}.
    """
    present = labels > 0
    # Each class costs PAR time, and most images have few. Their number decides the shape of the tensors,
    # which is why a GPU is waited for once here.
    most_classes = max(int(present.sum(dim=1).max()), 1)
    classes = present.int().sort(dim=1, descending=True, stable=True).indices[:, :most_classes]  # (B, K)
    shown = present.gather(1, classes)[:, :, None, None]
    chosen = maps.gather(1, classes[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
    chosen = F.interpolate(chosen * shown, image.shape[-2:], mode="bilinear", align_corners=False)
    scores = torch.cat([1 - chosen.amax(dim=1, keepdim=True), chosen], dim=1)
    if refine is not None:
        scores = refine(image, scores)
    values = F.pad(classes + 1, (1, 0))  # (B, 1 + K): label of each channel
    best = values.gather(1, scores.argmax(dim=1).flatten(1)).unflatten(1, image.shape[-2:])
    return best.masked_fill(~valid, IGNORE)
