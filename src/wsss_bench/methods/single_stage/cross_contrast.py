r"""Cross-contrastive learning: prototypes of objects and class texts tied together in both directions, away from background.

DALNet ("DIAL", ECCV 2024, arXiv 2409.15801) names the two directions; the formulas are ours, since its code is not
published: :math:`-\log \frac{e^{f \cdot t_c / \tau}}{e^{f \cdot t_c / \tau} + \sum_j e^{f \cdot t_j / \tau}}` against the
background texts of the image, and the same from the text against the background prototypes of all images. Prototypes of
other objects are never negatives: two images often share a class.

Both are means over the pairs (image, class) of the global batch, whatever the number of ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.gather import gather_rows
from wsss_bench.losses.ranks import mean_over_ranks
from wsss_bench.methods.single_stage.object_mask import ObjectMask


class Prototypes(NamedTuple):
    """Unit vectors, and which of them exist."""

    objects: Tensor  # (B, C, E)
    has_object: Tensor  # (B, C) bool
    background: Tensor  # (B, P, E)
    has_background: Tensor  # (B, P) bool


def prototypes(
    patches: Tensor, mask: ObjectMask, sampled: int = 0, noise: Tensor | None = None
) -> Prototypes:
    """Means of the patches of each class of each image, and of its rest.

    Args:
        patches: `(B, N, E)` unit vectors.
        mask: Objects and rest.
        sampled: In place of the mean of the rest, so many random patches of it.
        noise: `(B, N)` uniform numbers that choose them.
    """
    objects = F.normalize(mask.objects.to(patches.dtype) @ patches, dim=-1)
    rest = mask.rest
    if sampled:
        assert noise is not None
        chosen = noise.masked_fill(~rest, -1.0).topk(min(sampled, rest.shape[1])).indices  # (B, P)
        background = patches.gather(1, chosen[:, :, None].expand(-1, -1, patches.shape[2]))
        has_background = rest.gather(1, chosen)
    else:
        background = F.normalize(rest.to(patches.dtype)[:, None] @ patches, dim=-1)
        has_background = rest.any(dim=1, keepdim=True)
    return Prototypes(objects, mask.objects.any(dim=2), background, has_background)


def image_to_text(
    prototypes: Prototypes,
    foreground: Tensor,
    background: Tensor,
    labels: Tensor,
    suppressed: Tensor,
    temperature: float,
    class_negatives: bool = False,
) -> Tensor:
    """An object is nearer to the text of its class than to the background texts of its image.

    Args:
        prototypes: Of the images of this rank.
        foreground: `(C, E)` unit vectors of the class texts.
        background: `(J, E)` unit vectors of the background texts.
        labels: `(B, C)` multi-hot.
        suppressed: `(B, J)` bool, the background texts of an image.
        temperature: Of the softmax.
        class_negatives: Texts of absent classes are negatives too.
    """
    cosine = prototypes.objects @ foreground.T / temperature  # (B, C, C)
    positive = cosine.diagonal(dim1=1, dim2=2)[..., None]  # (B, C, 1)
    apart = prototypes.objects @ background.T / temperature  # (B, C, J)
    negatives = [apart.masked_fill(~suppressed[:, None], -torch.inf)]
    if class_negatives:
        negatives.append(cosine.masked_fill(labels[:, None] > 0, -torch.inf))
    return _mean_over_pairs(positive, torch.cat(negatives, dim=2), prototypes.has_object)


def text_to_image(prototypes: Prototypes, foreground: Tensor, temperature: float, gather: bool) -> Tensor:
    """The text of a class is nearer to its object than to the background of any image of the batch.

    Args:
        prototypes: Of the images of this rank.
        foreground: `(C, E)` unit vectors of the class texts.
        temperature: Of the softmax.
        gather: Backgrounds of all ranks are negatives, not of this one only.
    """
    rest, exists = prototypes.background.flatten(0, 1), prototypes.has_background.flatten()
    if gather:
        rest, exists = gather_rows(rest), gather_rows(exists.float()) > 0
    positive = (prototypes.objects * foreground).sum(dim=2)[..., None] / temperature  # (B, C, 1)
    negatives = (foreground @ rest.T / temperature).masked_fill(~exists, -torch.inf)  # (C, G)
    negatives = negatives.expand(len(positive), -1, -1)
    return _mean_over_pairs(positive, negatives, prototypes.has_object)


def _mean_over_pairs(positive: Tensor, negatives: Tensor, exists: Tensor) -> Tensor:
    """-log softmax of the positive `(B, C, 1)` among itself and the negatives `(B, C, K)`, where the pair exists."""
    loss = torch.cat([positive, negatives], dim=2).logsumexp(dim=2) - positive[..., 0]
    return mean_over_ranks(loss[exists])
