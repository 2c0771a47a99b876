"""Symmetric contrast of pairs (InfoNCE), over the pairs of all ranks.

van den Oord et al., https://arxiv.org/abs/1807.03748, as CLIP and TCL use it. Functions return one loss for each pair of this
rank, so that the mean can be taken over all ranks' pairs (`ranks.mean_over_ranks`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.gather import gather_rows, rows_before

LOG_SCALE = math.log(1 / 0.07)
"""What a learned log-temperature starts from (CLIP)."""


def contrast(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    """Pairs `(P, D)` and `(P, D)` of this rank against the pairs of all ranks -> `(P,)`.

    Labels are one-hot, also where two pairs have the same text.
    """
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    scale = inverse_temperature(log_scale)
    return two_way(
        scale * image @ gather_rows(text).T, scale * text @ gather_rows(image).T, rows_before(image)
    )


def contrast_of_cosines(cosines: Tensor, log_scale: Tensor) -> Tensor:
    """The same from cosines `(P, sum of P)` of this rank's images with all texts, where an image has another embedding for
    every text -> `(P,)`."""
    first = rows_before(cosines)
    scale = inverse_temperature(log_scale)
    own = gather_rows(cosines)[:, first : first + len(cosines)]  # all images, own texts
    return two_way(scale * cosines, scale * own.T, first)


def two_way(image_to_text: Tensor, text_to_image: Tensor, first: int) -> Tensor:
    """Mean of both cross entropies of each pair.

    Args:
        image_to_text: `(P, Q)` logits of this rank's images for all texts.
        text_to_image: `(P, Q)` logits of this rank's texts for all images.
        first: Place of this rank's first pair among all.
    """
    label = first + torch.arange(len(image_to_text), device=image_to_text.device)
    if not len(label):
        return image_to_text.sum(dim=1) + text_to_image.sum(dim=1)
    directions = [
        F.cross_entropy(logits, label, reduction="none") for logits in (image_to_text, text_to_image)
    ]
    return (directions[0] + directions[1]) / 2


def inverse_temperature(log_scale: Tensor) -> Tensor:
    """Learned, at most 100."""
    return log_scale.exp().clamp(max=100)
