"""What ties regions to texts in TCL and CoDe: the contrast of pooled pixel features, smoothness, and priors of the area.

Cha et al., "Learning to Generate Text-grounded Mask for Open-world Semantic Segmentation from Only Image-Text Pairs", CVPR
2023, https://arxiv.org/abs/2212.00785, section 3.2. All terms have the value and the gradient of one process with the whole
batch, however it is dealt out to ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.gather import gather_rows, rows_before
from wsss_bench.losses.ranks import mean_over_ranks
from wsss_bench.methods.text_grounding.contrastive import contrast_of_cosines


class GroundingTerms(NamedTuple):
    """Scalars without weights."""

    feature_text: Tensor
    tv_features: Tensor
    tv_masks: Tensor
    area: Tensor
    negative_area: Tensor


def grounding_terms(
    pixels: Tensor, masks: Tensor, text: Tensor, log_scale: Tensor, area_prior: float
) -> GroundingTerms:
    """The terms of one batch.

    Pairs are text-major: pair `k * B + b` is text `k` of image `b`. The pixels and masks of an image are those of all its
    pairs, so that they are computed once and rows repeat; with `N` texts an image, the contrast cannot fall below `ln N`.

    Args:
        pixels: `(B, D, h, w)` unit features of this rank's images.
        masks: `(B, Q, h, w)` soft masks for the texts of all ranks.
        text: `(Q, D)` unit embeddings of the texts of all ranks; `P = N * B` of them are this rank's.
        log_scale: Learned log-temperature of the contrast.
        area_prior: Expected share of the image that a text's own mask covers; every other mask should cover none.
    """
    count = own_pairs(pixels, text)
    tiles = count // max(len(pixels), 1)
    cosines = torch.einsum("bqd,qd->bq", F.normalize(masked_pool(pixels, masks), dim=-1), text)
    shares = masks.mean(dim=(2, 3)).repeat(tiles, 1)  # (P, Q)
    first = rows_before(shares)
    row = torch.arange(count, device=text.device)
    own = shares[row, first + row]  # (P,)
    return GroundingTerms(
        feature_text=mean_over_ranks(contrast_of_cosines(cosines.repeat(tiles, 1), log_scale)),
        tv_features=mean_over_ranks(total_variation(pixels)),
        tv_masks=mean_over_ranks(total_variation(masks)),
        area=area_loss(own, torch.ones_like(own), area_prior),
        negative_area=area_loss(shares.sum(dim=1) - own, torch.full_like(own, max(len(text) - 1, 0)), 0.0),
    )


def own_pairs(pixels: Tensor, text: Tensor) -> int:
    """Pairs `P` of this rank: every image of every rank has the same number of texts."""
    images = len(gather_rows(pixels[:, :0]))
    return len(pixels) * (len(text) // max(images, 1))


def masked_pool(pixels: Tensor, masks: Tensor) -> Tensor:
    """Mean feature under each mask: `(B, D, h, w)` and `(B, Q, h, w)` -> `(B, Q, D)`."""
    weighted = torch.einsum("bdhw,bqhw->bqd", pixels, masks)
    return weighted / (masks.sum(dim=(2, 3))[..., None] + 1e-6)


def total_variation(maps: Tensor) -> Tensor:
    """Mean absolute difference of horizontal neighbours plus that of vertical ones: `(B, K, h, w)` -> `(B,)`."""
    across = (maps[..., 1:] - maps[..., :-1]).abs().mean(dim=(1, 2, 3))
    down = (maps[..., 1:, :] - maps[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    return across + down


def area_loss(shares: Tensor, counts: Tensor, prior: float) -> Tensor:
    """Distance of the mean area of all masks of the batch, not of each mask, to `prior`.

    Args:
        shares: `(P,)` sums of areas, in shares of the image.
        counts: `(P,)` masks in each sum.
        prior: Expected mean area, in [0, 1].
    """
    total, count = gather_rows(torch.stack([shares, counts], dim=1)).sum(dim=0)
    return (total - prior * count).abs() / count.clamp(min=1)
