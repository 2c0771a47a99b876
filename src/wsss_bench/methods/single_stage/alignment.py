r"""Alignment of an image with texts, for the class token (global) and for patches (local).

DALNet ("DIAL: Dense Image-text ALignment for Weakly Supervised Semantic Segmentation", ECCV 2024, arXiv 2409.15801). Its
code is not published: the terms follow second-hand descriptions, and how they are averaged is ours. Every loss is a mean
over images.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from wsss_bench.methods.single_stage.object_mask import ObjectMask

SimilarityMap = Literal["affine", "clamp", "sigmoid"]
SMALLEST = 1e-4
TEMPERATURE = 0.1


def match_probability(cosine: Tensor, kind: SimilarityMap) -> Tensor:
    """Cosines in [-1, 1] to probabilities in [1e-4, 1 - 1e-4], whose logarithm a loss takes.

    Args:
        cosine: Any shape. kind: `affine` (1 + s) / 2; `clamp` s itself, as in CLIMS, without gradient for negative cosines;
        `sigmoid` of s / 0.1.
    """
    if kind == "affine":
        cosine = (1 + cosine) / 2
    elif kind == "sigmoid":
        cosine = torch.sigmoid(cosine / TEMPERATURE)
    return cosine.clamp(SMALLEST, 1 - SMALLEST)


def global_alignment(
    image: Tensor,
    foreground: Tensor,
    background: Tensor,
    labels: Tensor,
    suppressed: Tensor,
    similarity: SimilarityMap = "affine",
    reduce: Literal["mean", "max", "sum"] = "mean",
    threshold: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Global implicit alignment: the image matches the texts of its labels and no background text.

    Args:
        image: `(B, E)` unit vectors of the class tokens.
        foreground: `(C, E)` unit vectors of the class texts.
        background: `(J, E)` unit vectors of the background texts.
        labels: `(B, C)` multi-hot.
        suppressed: `(B, J)` bool, the background texts that count for an image.
        similarity: How a cosine becomes a probability.
        reduce: Over the background texts of an image.
        threshold: Cosine that a background text must exceed to count; None for all.

    Returns:
        Foreground match, and background suppression. An image without labels or texts adds 0.
    """
    match = -torch.log(match_probability(image @ foreground.T, similarity))  # (B, C)
    matching = (match * labels).sum(dim=1) / labels.sum(dim=1).clamp(min=1)
    cosine = image @ background.T  # (B, J)
    if threshold is not None:
        suppressed = suppressed & (cosine > threshold)
    repel = -torch.log(1 - match_probability(cosine, similarity)) * suppressed
    if reduce == "mean":
        suppression = repel.sum(dim=1) / suppressed.sum(dim=1).clamp(min=1)
    else:
        suppression = repel.sum(dim=1) if reduce == "sum" else repel.amax(dim=1)
    return matching.mean(), suppression.mean()


def local_alignment(
    patches: Tensor,
    foreground: Tensor,
    background: Tensor,
    labels: Tensor,
    suppressed: Tensor,
    mask: ObjectMask,
    similarity: SimilarityMap = "affine",
    repel: bool = True,
    attract: bool = False,
) -> Tensor:
    """Local explicit alignment: patches of an object match its text, the rest matches no class of the image.

    Args:
        patches: `(B, N, E)` unit vectors.
        foreground: `(C, E)` unit vectors of the class texts.
        background: `(J, E)` unit vectors of the background texts.
        labels: `(B, C)` multi-hot.
        suppressed: `(B, J)` bool, the background texts of an image.
        mask: Objects and rest.
        similarity: How a cosine becomes a probability.
        repel: Push the rest from the texts of the image's classes.
        attract: Pull the rest to the nearest background text.

    Returns:
        Scalar; 0 with zero gradient where no patch is in the mask.
    """
    match = match_probability(patches @ foreground.T, similarity).transpose(1, 2)  # (B, C, N)
    classes = labels.sum(dim=1).clamp(min=1)  # (B,)
    loss = (_mean_over(-torch.log(match), mask.objects) * labels).sum(dim=1) / classes
    rest = mask.rest[:, None]
    if repel:
        loss = loss + (_mean_over(-torch.log(1 - match), rest) * labels).sum(dim=1) / classes
    if attract:
        cosine = (patches @ background.T).masked_fill(~suppressed[:, None], -1.0)
        nearest = match_probability(cosine, similarity).amax(dim=2)  # (B, N)
        loss = loss + _mean_over(-torch.log(nearest)[:, None], rest)[:, 0]
    return loss.mean()


def _mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of `(B, K, N)` over the chosen patches; 0 where there are none."""
    return (values * chosen).sum(dim=2) / chosen.sum(dim=2).clamp(min=1)
