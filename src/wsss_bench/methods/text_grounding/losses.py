"""Loss terms of TCL and CoDe: pooled-feature contrast, total variation, area priors, text segmentation.

Cha et al., "Learning to Generate Text-grounded Mask for Open-world Semantic Segmentation from Only Image-Text
Pairs", CVPR 2023, https://arxiv.org/abs/2212.00785, section 3.2; the last term: Wu et al., CVPR 2024,
https://arxiv.org/abs/2404.04231. All terms have the value and the gradient of one process with the whole
batch, for any number of ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import gather_rows, mean_over_ranks, rows_before, summed_over_ranks
from wsss_bench.methods.text_grounding.info_nce import info_nce_of_cosines
from wsss_bench.methods.text_grounding.text_segmenter import IGNORED_TOKEN
from wsss_bench.nn.precision import in_float32


class GroundingTerms(NamedTuple):
    """Unweighted scalars."""

    feature_text: Tensor
    tv_features: Tensor
    tv_masks: Tensor
    area: Tensor
    negative_area: Tensor


@in_float32
def grounding_terms(
    pixels: Tensor, masks: Tensor, text: Tensor, log_scale: Tensor, area_prior: float
) -> GroundingTerms:
    """The terms of one batch.

    Pairs are text-major: pair `k * B + b` is text `k` of image `b`. All pairs of an image share its pixel
    features and masks, which are computed once; their rows are repeated. With `N` texts per image, the
    contrast is therefore at least `ln N`.

    Args:
        pixels: `(B, D, h, w)` pixel features of this rank's images: of any length in TCL, where long ones
            weigh more in the pooled feature, and unit in CoDe.
        masks: `(B, Q, h, w)` soft masks for the texts of all ranks.
        text: `(Q, D)` unit embeddings of the texts of all ranks; `P = N * B` of them are this rank's.
        log_scale: Learned log inverse temperature of the contrast.
        area_prior: Expected share of the image that the mask of an image's own text covers; that of another
            text should cover nothing.
    """
    count = own_pair_count(pixels, text)
    repeats = count // max(len(pixels), 1)
    cosines = torch.einsum("bqd,qd->bq", F.normalize(masked_pool(pixels, masks), dim=-1), text)
    areas = masks.mean(dim=(2, 3)).repeat(repeats, 1)  # (P, Q)
    first = rows_before(areas)
    row = torch.arange(count, device=text.device)
    own = areas[row, first + row]  # (P,)
    return GroundingTerms(
        feature_text=mean_over_ranks(info_nce_of_cosines(cosines.repeat(repeats, 1), log_scale)),
        tv_features=mean_over_ranks(total_variation(pixels)),
        tv_masks=mean_over_ranks(total_variation(masks)),
        area=area_loss(own, torch.ones_like(own), area_prior),
        negative_area=area_loss(areas.sum(dim=1) - own, torch.full_like(own, max(len(text) - 1, 0)), 0.0),
    )


def own_pair_count(pixels: Tensor, text: Tensor) -> int:
    """Number of pairs `P` of this rank: all images of all ranks have the same number of texts."""
    images = len(gather_rows(pixels[:, :0]))
    return len(pixels) * (len(text) // max(images, 1))


@in_float32
def masked_pool(pixels: Tensor, masks: Tensor) -> Tensor:
    """Mean feature under each mask: `(B, D, h, w)` and `(B, Q, h, w)` -> `(B, Q, D)`."""
    weighted = torch.einsum("bdhw,bqhw->bqd", pixels, masks)
    return weighted / (masks.sum(dim=(2, 3))[..., None] + 1e-6)


@in_float32
def total_variation(maps: Tensor) -> Tensor:
    """Mean absolute difference of horizontal plus that of vertical neighbours: `(B, K, h, w)` -> `(B,)`."""
    horizontal = (maps[..., 1:] - maps[..., :-1]).abs().mean(dim=(1, 2, 3))
    vertical = (maps[..., 1:, :] - maps[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    return horizontal + vertical


@in_float32
def area_loss(areas: Tensor, counts: Tensor, prior: float) -> Tensor:
    """Distance between `prior` and the mean area of all masks of the global batch (not of each mask).

    Args:
        areas: `(P,)` sums of mask areas, each area as a share of the image.
        counts: `(P,)` number of masks in each sum.
        prior: Expected mean area, in [0, 1].
    """
    total, count = gather_rows(torch.stack([areas, counts], dim=1)).sum(dim=0)
    return (total - prior * count).abs() / count.clamp(min=1)


@in_float32
def prompt_distance(prompt: Tensor, sentence: Tensor) -> Tensor:
    """CoDe's L_kg, 1 - cosine of learned noun prompts and their sentences: `(P, D)`, unit -> `(P,)`."""
    return 1 - (prompt * sentence).sum(dim=1)


@in_float32
def text_segmentation_loss(logits: Tensor, labels: Tensor, none_weight: float = 0.5) -> Tensor:
    """CoDe's L_seg^t: weighted cross-entropy over the labelled tokens of all ranks; 0 without any.

    Args:
        logits: `(B, N + 1, L)`, class 0 is "none of the nouns".
        labels: `(B, L)` int64 in `{0..N}`, or `IGNORED_TOKEN`.
        none_weight: Weight of class 0; the others have 1.
    """
    class_weight = logits.new_ones(logits.shape[1])
    class_weight[0] = none_weight
    weights = torch.where(labels == IGNORED_TOKEN, 0.0, class_weight[labels.clamp(min=0)])  # (B, L)
    losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORED_TOKEN)  # (B, L)
    total, ranks = summed_over_ranks(weights.sum())
    return (weights * losses).sum() * ranks / total.clamp(min=1e-6)
