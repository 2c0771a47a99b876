"""Symmetric InfoNCE over the image-text pairs of all ranks.

van den Oord et al., https://arxiv.org/abs/1807.03748, as in CLIP and TCL. Functions return one loss per pair
of this rank, so that the mean can be taken over the pairs of all ranks
(`wsss_bench.losses.ranks.mean_over_ranks`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import gather_rows, rows_before
from wsss_bench.nn.precision import in_float32

INITIAL_LOG_SCALE = math.log(1 / 0.07)
"""Initial value of a learned log inverse temperature (CLIP)."""


@in_float32
def info_nce(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    """InfoNCE of embeddings: this rank's pairs against the pairs of all ranks.

    Labels are one-hot, also where two pairs have the same text.

    Args:
        image: `(P, D)`, any length.
        text: `(P, D)`, any length.
        log_scale: Learned log inverse temperature, scalar.

    Returns:
        `(P,)`.
    """
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    scale = inverse_temperature(log_scale)
    return symmetric_cross_entropy(
        scale * image @ gather_rows(text).T, scale * text @ gather_rows(image).T, rows_before(image)
    )


@in_float32
def info_nce_of_cosines(cosines: Tensor, log_scale: Tensor) -> Tensor:
    """InfoNCE where an image has a different embedding for every text (TCL's extended InfoNCE).

    Args:
        cosines: `(P, sum of P over ranks)`, this rank's images with the texts of all ranks.
        log_scale: Learned log inverse temperature, scalar.

    Returns:
        `(P,)`.
    """
    first = rows_before(cosines)
    scale = inverse_temperature(log_scale)
    own_texts = gather_rows(cosines)[
        :, first : first + len(cosines)
    ]  # images of all ranks, texts of this one
    return symmetric_cross_entropy(scale * cosines, scale * own_texts.T, first)


@in_float32
def symmetric_cross_entropy(image_to_text: Tensor, text_to_image: Tensor, first: int) -> Tensor:
    """Mean of the two cross-entropies of each pair, `(P,)`.

    Args:
        image_to_text: `(P, Q)` logits of this rank's images for all texts.
        text_to_image: `(P, Q)` logits of this rank's texts for all images.
        first: Index of this rank's first pair among all pairs.
    """
    label = first + torch.arange(len(image_to_text), device=image_to_text.device)
    if not len(label):
        # cross_entropy fails without rows; the sums keep the graph
        return image_to_text.sum(dim=1) + text_to_image.sum(dim=1)
    directions = [
        F.cross_entropy(logits, label, reduction="none") for logits in (image_to_text, text_to_image)
    ]
    return (directions[0] + directions[1]) / 2


def inverse_temperature(log_scale: Tensor) -> Tensor:
    """Learned inverse temperature, clamped to at most 100."""
    return log_scale.exp().clamp(max=100)
