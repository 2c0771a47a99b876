"""From class maps on the patch grid to pixel labels: background score, refinement by colours, maximum.

WeCLIP (CVPR 2024), https://github.com/zbf1991/WeCLIP, and ExCEL (CVPR 2025), https://github.com/zwyang6/ExCEL.
Without the refinement a pixel is foreground where its best map exceeds one half.

Departure: padding is 255; the authors train on it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.nn.precision import in_float32
from wsss_bench.types import IGNORE


@torch.no_grad()
@in_float32
def pseudo_labels(
    image: Tensor,
    maps: Tensor,
    labels: Tensor,
    valid: Tensor,
    refine: Callable[[Tensor, Tensor], Tensor] | None,
    most_labels: int | None = None,
) -> Tensor:
    """The best of the background, `1 - max` over the maps, and the labelled classes, after refinement.

    Args:
        image: `(B, 3, H, W)` in [0, 1].
        maps: `(B, C, h, w)` in [0, 1].
        labels: `(B, C)` multi-hot; maps of other classes do not count.
        valid: `(B, H, W)` bool; False (padding) becomes 255.
        refine: `(image, scores)` -> scores of the same size (`PAR`); None: no refinement.
        most_labels: Labels of the image that has the most; None: they are counted, and the device waited for.

    Returns:
        `(B, H, W)` int64 in {0..C, 255}; background everywhere in an image without labels.
    """
    # only maps of labelled classes are enlarged and refined: K of them, in the image that has the most
    most = int(labels.count_nonzero(dim=1).max()) if most_labels is None else most_labels
    classes = labels.argsort(dim=1, descending=True, stable=True)[:, : max(1, most)]  # (B, K)
    chosen = maps.gather(1, classes[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
    chosen = chosen * labels.gather(1, classes)[:, :, None, None]
    chosen = F.interpolate(chosen, image.shape[-2:], mode="bilinear", align_corners=False)
    scores = with_background(chosen)
    best = (scores if refine is None else refine(image, scores)).argmax(dim=1)  # (B, H, W) in {0..K}
    values = F.pad(classes + 1, (1, 0))  # (B, 1 + K)
    label = values.gather(1, best.flatten(1)).view_as(best)
    return label.masked_fill(~valid, IGNORE)


def with_background(maps: Tensor) -> Tensor:
    """`(B, K, H, W)` maps in [0, 1] -> `(B, 1 + K, H, W)`, with `1 - max` of the maps in front.

    Examples:
        >>> with_background(torch.tensor([[[[0.9, 0.2]], [[0.1, 0.3]]]]))[0, 0]  # of the background
        tensor([[0.1000, 0.7000]])
    """
    return torch.cat([1 - maps.amax(dim=1, keepdim=True), maps], dim=1)
