r"""The alignment losses of DALNet: GIA, LEA and CCL.

DALNet ("DIAL: Dense Image-text ALignment for Weakly Supervised Semantic Segmentation", ECCV 2024, arXiv
2409.15801). Its code is not published: the terms follow second-hand descriptions; formulas and averaging are
ours.

- GIA, global implicit alignment: the class token matches the texts of the labelled classes and no background
  text.
- LEA, local explicit alignment: object patches match the text of their class, background patches no labelled
  class.
- CCL, cross-contrastive learning: class prototypes of an image and class texts are contrasted in both
  directions. Image to text, with the background texts as negatives:
  :math:`-\log \frac{e^{f \cdot t_c / \tau}}{e^{f \cdot t_c / \tau} + \sum_j e^{f \cdot t_j / \tau}}`; text to
  image the same, with the background prototypes of all images as negatives. Prototypes of objects are never
  negatives, since two images often share a class.

GIA and LEA are means over images. CCL is the mean over the pairs (image, class) of the global batch, whatever
the number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.losses.ranks import gather_rows, mean_over_valid
from wsss_bench.methods.single_stage.object_mask import ObjectMask
from wsss_bench.nn.precision import in_float32
from wsss_bench.ranges import check_range

SimilarityMap = Literal["affine", "clamp", "sigmoid"]
MIN_PROBABILITY = 1e-4
SIGMOID_TEMPERATURE = 0.1


@dataclass(frozen=True)
class GIAConfig:
    """Global implicit alignment.

    Args:
        bg_reduce: Reduction over the background texts of an image.
        bg_threshold: Background texts count only if their cosine exceeds this; None counts all.
    """

    bg_reduce: Literal["mean", "max", "sum"] = "mean"
    bg_threshold: float | None = None

    def __post_init__(self) -> None:
        check_range("gia.bg_threshold", self.bg_threshold, -1, 1)


@dataclass(frozen=True)
class LEAConfig:
    """Local explicit alignment: treatment of background patches.

    Args:
        bg_repel: Push them away from the texts of the image's classes.
        bg_attract: Pull each to its nearest background text.
    """

    bg_repel: bool = True
    bg_attract: bool = False


@dataclass(frozen=True)
class CCLConfig:
    """Cross-contrastive learning.

    Args:
        tau: Temperature.
        class_negatives: Texts of absent classes are negatives of the direction image to text.
        gather: Background prototypes of all ranks are negatives of the direction text to image, so that
            several ranks train what one process trains.
        bg_patches: If above 0, this many random background patches of an image take the place of their mean.
    """

    tau: float = 0.07
    class_negatives: bool = False
    gather: bool = True
    bg_patches: int = 0

    def __post_init__(self) -> None:
        check_range("ccl.tau", self.tau, above=0)
        check_range("ccl.bg_patches", self.bg_patches, 0)


@in_float32
def match_probability(cosine: Tensor, kind: SimilarityMap) -> Tensor:
    """Map cosines in [-1, 1] to probabilities in [1e-4, 1 - 1e-4], so that a loss can take their logarithm.

    Args:
        cosine: Cosines s, any shape.
        kind: `affine`: (1 + s) / 2; `clamp`: s itself, as in CLIMS, without gradient for negative cosines;
            `sigmoid`: sigmoid(s / 0.1).
    """
    if kind == "affine":
        cosine = (1 + cosine) / 2
    elif kind == "sigmoid":
        cosine = torch.sigmoid(cosine / SIGMOID_TEMPERATURE)
    return cosine.clamp(MIN_PROBABILITY, 1 - MIN_PROBABILITY)


@in_float32
def global_implicit_alignment(
    image: Tensor,
    class_texts: Tensor,
    background_texts: Tensor,
    labels: Tensor,
    active_backgrounds: Tensor,
    similarity: SimilarityMap = "affine",
    reduce: Literal["mean", "max", "sum"] = "mean",
    threshold: float | None = None,
) -> tuple[Tensor, Tensor]:
    """GIA: the image matches the texts of its labels and no background text.

    Args:
        image: `(B, E)` projected class tokens, unit vectors.
        class_texts: `(C, E)` unit vectors.
        background_texts: `(J, E)` unit vectors.
        labels: `(B, C)` multi-hot.
        active_backgrounds: `(B, J)` bool, the background texts used for each image.
        similarity: How a cosine becomes a probability.
        reduce: Reduction over the background texts of an image.
        threshold: Background texts count only if their cosine exceeds this; None counts all.

    Returns:
        Scalars: foreground match, background suppression. An image without labels or background texts adds 0.
    """
    match = -torch.log(match_probability(image @ class_texts.T, similarity))  # (B, C)
    foreground_match = (match * labels).sum(dim=1) / labels.sum(dim=1).clamp(min=1)
    cosine = image @ background_texts.T  # (B, J)
    if threshold is not None:
        active_backgrounds = active_backgrounds & (cosine > threshold)
    mismatch = -torch.log(1 - match_probability(cosine, similarity)) * active_backgrounds
    if reduce == "mean":
        suppression = mismatch.sum(dim=1) / active_backgrounds.sum(dim=1).clamp(min=1)
    else:
        suppression = mismatch.sum(dim=1) if reduce == "sum" else mismatch.amax(dim=1)
    return foreground_match.mean(), suppression.mean()


@in_float32
def local_explicit_alignment(
    patches: Tensor,
    class_texts: Tensor,
    background_texts: Tensor,
    labels: Tensor,
    active_backgrounds: Tensor,
    mask: ObjectMask,
    similarity: SimilarityMap = "affine",
    repel: bool = True,
    attract: bool = False,
) -> Tensor:
    """LEA: object patches match the text of their class, background patches match no class of the image.

    Args:
        patches: `(B, N, E)` projected patch tokens, unit vectors.
        class_texts: `(C, E)` unit vectors.
        background_texts: `(J, E)` unit vectors.
        labels: `(B, C)` multi-hot.
        active_backgrounds: `(B, J)` bool, the background texts used for each image.
        mask: Object and background patches.
        similarity: How a cosine becomes a probability.
        repel: Push background patches away from the texts of the image's classes.
        attract: Pull each background patch to its nearest background text.

    Returns:
        Scalar; 0 with zero gradient if the mask is empty.
    """
    match = match_probability(patches @ class_texts.T, similarity).transpose(1, 2)  # (B, C, N)
    num_labels = labels.sum(dim=1).clamp(min=1)  # (B,)
    loss = (_mean_over_patches(-torch.log(match), mask.objects) * labels).sum(dim=1) / num_labels
    background = mask.background[:, None]
    if repel:
        mismatch = _mean_over_patches(-torch.log(1 - match), background)
        loss = loss + (mismatch * labels).sum(dim=1) / num_labels
    if attract:
        cosine = (patches @ background_texts.T).masked_fill(~active_backgrounds[:, None], -1.0)
        nearest = match_probability(cosine, similarity).amax(dim=2)  # (B, N)
        loss = loss + _mean_over_patches(-torch.log(nearest)[:, None], background)[:, 0]
    return loss.mean()


class Prototypes(NamedTuple):
    """Class and background prototypes of each image, unit vectors, and which of them exist."""

    objects: Tensor  # (B, C, E)
    has_object: Tensor  # (B, C) bool
    background: Tensor  # (B, P, E)
    has_background: Tensor  # (B, P) bool


@in_float32
def class_prototypes(
    patches: Tensor, mask: ObjectMask, sampled: int = 0, noise: Tensor | None = None
) -> Prototypes:
    """Means of the patches of each class of each image, and of its background patches.

    Args:
        patches: `(B, N, E)` projected patch tokens, unit vectors.
        mask: Object and background patches.
        sampled: If above 0, this many random background patches take the place of their mean.
        noise: `(B, N)` uniform random numbers that choose them.
    """
    objects = F.normalize(mask.objects.to(patches.dtype) @ patches, dim=-1)
    in_background = mask.background
    if sampled:
        assert noise is not None
        order = noise.masked_fill(~in_background, -1.0)
        chosen = order.topk(min(sampled, in_background.shape[1])).indices  # (B, P)
        background = patches.gather(1, chosen[:, :, None].expand(-1, -1, patches.shape[2]))
        has_background = in_background.gather(1, chosen)
    else:
        background = F.normalize(in_background.to(patches.dtype)[:, None] @ patches, dim=-1)
        has_background = in_background.any(dim=1, keepdim=True)
    return Prototypes(objects, mask.objects.any(dim=2), background, has_background)


@in_float32
def image_to_text_contrast(
    prototypes: Prototypes,
    class_texts: Tensor,
    background_texts: Tensor,
    labels: Tensor,
    active_backgrounds: Tensor,
    temperature: float,
    class_negatives: bool = False,
) -> Tensor:
    """CCL, image to text: a class prototype matches its class text better than background texts.

    Args:
        prototypes: Prototypes of the images of this rank.
        class_texts: `(C, E)` unit vectors.
        background_texts: `(J, E)` unit vectors.
        labels: `(B, C)` multi-hot.
        active_backgrounds: `(B, J)` bool, the background texts used for each image.
        temperature: Of the softmax.
        class_negatives: Texts of absent classes are negatives too.
    """
    cosine = prototypes.objects @ class_texts.T / temperature  # (B, C, C)
    positive = cosine.diagonal(dim1=1, dim2=2)[..., None]  # (B, C, 1)
    background = prototypes.objects @ background_texts.T / temperature  # (B, C, J)
    negatives = [background.masked_fill(~active_backgrounds[:, None], -torch.inf)]
    if class_negatives:
        negatives.append(cosine.masked_fill(labels[:, None] > 0, -torch.inf))
    return _mean_over_pairs(positive, torch.cat(negatives, dim=2), prototypes.has_object)


@in_float32
def text_to_image_contrast(
    prototypes: Prototypes, class_texts: Tensor, temperature: float, gather: bool
) -> Tensor:
    """CCL, text to image: a class text matches its class prototype better than background prototypes.

    Args:
        prototypes: Prototypes of the images of this rank.
        class_texts: `(C, E)` unit vectors.
        temperature: Of the softmax.
        gather: Background prototypes of all ranks are negatives; otherwise those of this rank.
    """
    background, exists = prototypes.background.flatten(0, 1), prototypes.has_background.flatten()
    if gather:
        background, exists = gather_rows(background), gather_rows(exists.float()) > 0
    positive = (prototypes.objects * class_texts).sum(dim=2)[..., None] / temperature  # (B, C, 1)
    negatives = (class_texts @ background.T / temperature).masked_fill(~exists, -torch.inf)  # (C, G)
    negatives = negatives.expand(len(positive), -1, -1)
    return _mean_over_pairs(positive, negatives, prototypes.has_object)


def _mean_over_patches(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of `(B, K, N)` over the chosen patches; 0 where there are none."""
    return (values * chosen).sum(dim=2) / chosen.sum(dim=2).clamp(min=1)


def _mean_over_pairs(positive: Tensor, negatives: Tensor, exists: Tensor) -> Tensor:
    """Mean of -log softmax of the positives over existing pairs `(B, C)`.

    Args:
        positive: `(B, C, 1)` logits.
        negatives: `(B, C, K)` logits; -inf leaves one out.
        exists: `(B, C)` bool.
    """
    loss = torch.cat([positive, negatives], dim=2).logsumexp(dim=2) - positive[..., 0]
    return mean_over_valid(loss, exists)
