"""Losses of the tiny CLIP: captions on the class token, nouns on the patch tokens.

The caption loss is CLIP's, with repeated captions taken into account. The noun loss makes patch tokens carry
local meaning: a noun is compared with the patches most like it, not with their mean.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

POOLING_SHARPNESS = 10.0  # of the softmax over patches, in units of cosine
BATCH_MARGIN = math.log(4)  # a true image may lose to this many false ones at no cost


def caption_loss(image: Tensor, text: Tensor, scale: Tensor, positive: Tensor, ignored: Tensor) -> Tensor:
    """Symmetric InfoNCE in which captions of the same content are positives together.

    Args:
        image: (B, D) unit vectors.
        text: (B, D) unit vectors, row b is the caption of image b.
        scale: Scalar factor of the cosine.
        positive: (B, B) bool, [i, j] caption j says the same as the caption of image i; true on the diagonal.
        ignored: (B, B) bool, [i, j] caption j is true of image i without being its own; never where positive.

    Returns:
        Scalar, the mean over images and captions.
    """
    logits = (scale * image @ text.T).masked_fill(ignored, -torch.inf)
    numerator = logits.masked_fill(~positive, -torch.inf)
    by_image = logits.logsumexp(1) - numerator.logsumexp(1)
    by_text = logits.logsumexp(0) - numerator.logsumexp(0)
    return (by_image.mean() + by_text.mean()) / 2


def caption_targets(mentioned: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Which captions are positive for which images, and which do not count.

    Args:
        mentioned: (B, K) bool, nouns named in each caption.
        truth: (B, K) 1 true of the image, 0 false, -1 uncertain.

    Returns:
        `positive` and `ignored`, both (B, B) bool as `caption_loss` takes them.
    """
    positive = (mentioned[:, None] == mentioned[None]).all(-1)
    fits = ~(mentioned[None] & (truth == 0)[:, None]).any(
        -1
    )  # caption j names nothing that is false of image i
    return positive, fits & ~positive


def pooled_similarity(tokens: Tensor, nouns: Tensor) -> Tensor:
    """(B, N, D) patch tokens and (K, D) nouns, unit length -> (B, K) cosine of each noun with its patches."""
    cosine = tokens @ nouns.T  # (B, N, K)
    return ((POOLING_SHARPNESS * cosine).softmax(1) * cosine).sum(1)


def noun_loss(tokens: Tensor, nouns: Tensor, scale: Tensor, truth: Tensor) -> Tensor:
    """True nouns must beat the image's false nouns, and true images the batch's false images.

    Args:
        tokens: (B, N, D) unit vectors of the patches.
        nouns: (K, D) unit vectors of the noun prompts.
        scale: Scalar factor of the cosine.
        truth: (B, K) 1 true of the image, 0 false, -1 uncertain and in neither set.

    Returns:
        Scalar, the mean over the true pairs (image, noun).
    """
    similarity = scale * pooled_similarity(tokens, nouns)  # (B, K)
    false = similarity.masked_fill(truth != 0, -torch.inf)
    against_nouns = F.softplus(false.logsumexp(1, keepdim=True) - similarity)
    against_images = F.softplus(false.logsumexp(0, keepdim=True) - similarity - BATCH_MARGIN)
    return ((against_nouns + against_images) / 2)[truth == 1].mean()
