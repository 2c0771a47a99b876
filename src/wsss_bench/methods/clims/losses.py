r"""The losses of CLIMS: what CLIP must and must not see in a masked image.

Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic Segmentation", CVPR 2022,
https://arxiv.org/abs/2203.02668, equations 4 to 8; reductions as in https://github.com/CVI-SZU/CLIMS (the paper writes sums
over classes). All similarities :math:`s` are cosines of unit CLIP embeddings, without temperature. `M` counts the positive
(image, class) pairs of a batch, `J` the background sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-4


@dataclass(frozen=True)
class LossWeights:
    """Weights of the four terms.

    Args:
        object_text: Of L_OTM, alpha.
        background_text: Of L_BTM, beta.
        suppression: Of L_CBS, gamma; of a sum over the global batch.
        area: Of L_REG, delta.
    """

    object_text: float
    background_text: float
    suppression: float
    area: float


def clamp_similarity(similarity: Tensor) -> Tensor:
    """Cosines kept in [1e-4, 0.9999], where a logarithm of them is defined; no gradient outside (improved version)."""
    return similarity.clamp(EPSILON, 1 - EPSILON)


def object_text_matching(similarity: Tensor) -> Tensor:
    r"""The masked-in object must match the sentence of its class: :math:`-\log s_{oo}`.

    Args:
        similarity: `(M,)` cosine of object image and own class, positive (`clamp_similarity`).

    Returns:
        `(M,)`, one loss a pair.
    """
    return -similarity.log()


def background_text_matching(similarity: Tensor) -> Tensor:
    r"""What the mask leaves out must not match it: :math:`-\log(1 - s_{bo})`.

    Args:
        similarity: `(M,)` cosine of background image and the same class, below 1.

    Returns:
        `(M,)`, one loss a pair.
    """
    return -torch.log1p(-similarity)


def background_suppression(similarity: Tensor, threshold: float) -> Tensor:
    r"""The object must not match the scenery: :math:`-\sum_{m,j} [s_{mj} > t] \log(1 - s_{mj})` (improved version).

    Args:
        similarity: `(M, J)` cosine of object image and background sentence, below 1.
        threshold: Cosine above which the sentence counts as seen; the indicator has no gradient.

    Returns:
        Scalar, a **sum**: it grows with the number of pairs and of sentences, as published.
    """
    return -torch.log1p(-similarity[similarity > threshold]).sum()


def class_background_suppression(similarity: Tensor, belongs: Tensor) -> Tensor:
    r"""The object must not match the scenery of its own class (camera-ready version, no threshold).

    Args:
        similarity: `(M, J)` cosine of object image and background sentence, below 1.
        belongs: `(M, J)` bool, whether the sentence is one of the pair's class.

    Returns:
        Scalar, the sum over pairs of the mean over the sentences of the class; pairs without sentences count nothing.
    """
    own = belongs.to(similarity.dtype)
    return (-torch.log1p(-similarity) * own / own.sum(dim=1, keepdim=True).clamp(min=1)).sum()


def area_regularization(activation: Tensor) -> Tensor:
    """Maps must be small: the mean of `(B, C, h, w)` activations in (0, 1), absent classes and padding included."""
    return activation.mean()
