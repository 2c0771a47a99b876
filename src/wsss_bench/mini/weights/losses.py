"""Losses of the tiny CLIP: a caption loss on the class token and a noun loss on the patch tokens.

The caption loss is the InfoNCE of CLIP, extended to batches in which several captions have the same content.
The noun loss compares each noun with the patches most similar to it, not with their mean, so that patch
tokens represent what is at their place.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

POOLING_SHARPNESS = 10.0  # of the softmax over patches, in units of cosine
BATCH_MARGIN = math.log(4)  # the sum over the negative images of a batch is divided by four


def caption_loss(image: Tensor, text: Tensor, scale: Tensor, positive: Tensor, ignored: Tensor) -> Tensor:
    """Symmetric InfoNCE in which all captions with the same content are positives.

    Args:
        image: (B, D) unit vectors.
        text: (B, D) unit vectors, row b is the caption of image b.
        scale: Scalar factor of the cosine.
        positive: (B, B) bool, [i, j] caption j has the same content as caption i; true on the diagonal.
        ignored: (B, B) bool, [i, j] caption j is no negative for image i, because it may describe it, too;
            false where `positive` is true.

    Returns:
        Scalar, the mean over images and captions.
    """
    logits = (scale * image @ text.T).masked_fill(ignored, -torch.inf)
    numerator = logits.masked_fill(~positive, -torch.inf)
    by_image = logits.logsumexp(1) - numerator.logsumexp(1)
    by_text = logits.logsumexp(0) - numerator.logsumexp(0)
    return (by_image.mean() + by_text.mean()) / 2


def caption_targets(mentioned: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
    """Which captions are positives of which images, and which are ignored.

    Args:
        mentioned: (B, K) bool, nouns named in each caption.
        presence: (B, K) nouns of each image: 1 present, 0 absent, -1 uncertain.

    Returns:
        `positive` and `ignored`, both (B, B) bool, as in `caption_loss`.
    """
    positive = (mentioned[:, None] == mentioned[None]).all(-1)
    # [i, j] caption j names no noun that is absent from image i
    possible = ~(mentioned[None] & (presence == 0)[:, None]).any(-1)
    return positive, possible & ~positive


def pooled_similarity(tokens: Tensor, nouns: Tensor) -> Tensor:
    """Cosine of every noun with the patches, weighted by a softmax of the cosine over the patches.

    Args:
        tokens: (B, N, D) patch tokens of unit length.
        nouns: (K, D) embeddings of the nouns, unit length.

    Returns:
        (B, K).
    """
    cosine = tokens @ nouns.T  # (B, N, K)
    return ((POOLING_SHARPNESS * cosine).softmax(1) * cosine).sum(1)


def noun_loss(tokens: Tensor, nouns: Tensor, scale: Tensor, presence: Tensor) -> Tensor:
    """Contrast every present noun with the absent nouns of its image, and with the images without it.

    Args:
        tokens: (B, N, D) unit vectors of the patches.
        nouns: (K, D) unit vectors of the noun prompts.
        scale: Scalar factor of the cosine.
        presence: (B, K) 1 present, 0 absent, -1 uncertain (neither positive nor negative).

    Returns:
        Scalar, the mean over the pairs of an image and a noun that is present.
    """
    similarity = scale * pooled_similarity(tokens, nouns)  # (B, K)
    negatives = similarity.masked_fill(presence != 0, -torch.inf)
    against_nouns = F.softplus(negatives.logsumexp(1, keepdim=True) - similarity)
    against_images = F.softplus(negatives.logsumexp(0, keepdim=True) - similarity - BATCH_MARGIN)
    return ((against_nouns + against_images) / 2)[presence == 1].mean()
