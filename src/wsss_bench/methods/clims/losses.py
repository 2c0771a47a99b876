r"""The loss terms of CLIMS: OTM, BTM, CBS and REG.

Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic Segmentation", CVPR 2022,
https://arxiv.org/abs/2203.02668, equations 4 to 8. Reductions follow https://github.com/CVI-SZU/CLIMS (the
paper writes sums over classes). All similarities :math:`s` are cosines of unit CLIP embeddings, without
temperature. `M` is the number of positive (image, class) pairs in a batch, `J` the number of background
prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wsss_bench.nn.precision import in_float32

EPSILON = 1e-4


@dataclass(frozen=True)
class LossWeights:
    """Weights of the four terms.

    Args:
        otm: Weight of the object region and text label matching loss L_OTM (alpha in the paper).
        btm: Weight of the background region and text label matching loss L_BTM (beta).
        cbs: Weight of the co-occurring background suppression loss L_CBS (gamma), which is a sum over the
            global batch.
        reg: Weight of the area regularization L_REG (delta).
    """

    otm: float
    btm: float
    cbs: float
    reg: float


@in_float32
def clamp_similarity(similarity: Tensor) -> Tensor:
    """Clamp cosines to [1e-4, 0.9999], so that the logarithms below are finite (improved version).

    The gradient is zero outside this range.
    """
    return similarity.clamp(EPSILON, 1 - EPSILON)


@in_float32
def object_text_matching(similarity: Tensor) -> Tensor:
    r"""L_OTM: the object region must match the prompt of its class, :math:`-\log s^{oo}`.

    Args:
        similarity: `(M,)` cosine of object region and class prompt, positive (see `clamp_similarity`).

    Returns:
        `(M,)`, one loss per pair.
    """
    return -similarity.log()


@in_float32
def unclamped_object_text_matching(similarity: Tensor) -> Tensor:
    r"""L_OTM of the camera-ready version, in which a cosine may be negative.

    The published loss, :math:`-\log s^{oo}`, is then NaN, but its gradient :math:`-1 / s^{oo}` is finite and
    training goes on: such a pair is pushed down, the harder the nearer it is to 0. The gradient here is the
    published one. Only a cosine of exactly 0 has none.

    Args:
        similarity: `(M,)` cosine of object region and class prompt.

    Returns:
        `(M,)`, :math:`-\log s^{oo}` of pairs with a positive cosine, 0 for the others.
    """
    matching = -similarity.abs().log()
    return matching - torch.where(similarity > 0, 0.0, matching.detach())


@in_float32
def background_text_matching(similarity: Tensor) -> Tensor:
    r"""L_BTM: the background region must not match the prompt of the class, :math:`-\log(1 - s^{bo})`.

    Args:
        similarity: `(M,)` cosine of background region and class prompt, below 1.

    Returns:
        `(M,)`, one loss per pair.
    """
    return -torch.log1p(-similarity)


@in_float32
def background_suppression(similarity: Tensor, threshold: float) -> Tensor:
    r"""L_CBS of the improved version: the object region must not match the co-occurring background.

    :math:`-\sum_{m,j} [s^{ob}_{mj} > t] \log(1 - s^{ob}_{mj})`; all classes share the background prompts.

    Args:
        similarity: `(M, J)` cosine of object region and background prompt, below 1.
        threshold: Cosine `t` above which a prompt contributes. The indicator has no gradient.

    Returns:
        Scalar, a **sum**: it grows with the number of pairs and of prompts, as in the authors' code.
    """
    return -torch.log1p(-similarity.where(similarity > threshold, 0.0)).sum()


@in_float32
def class_related_background_suppression(similarity: Tensor, class_related: Tensor) -> Tensor:
    r"""L_CBS of the camera-ready version: class-related background prompts, no threshold.

    Args:
        similarity: `(M, J)` cosine of object region and background prompt, below 1.
        class_related: `(M, J)` bool, whether the prompt is class-related background of the pair's class.

    Returns:
        Scalar, the sum over pairs of the mean over the prompts of the class. Pairs of a class without
        background prompts contribute 0.
    """
    mask = class_related.to(similarity.dtype)
    return (-torch.log1p(-similarity) * mask / mask.sum(dim=1, keepdim=True).clamp(min=1)).sum()


@in_float32
def area_regularization(activation: Tensor) -> Tensor:
    """L_REG: the mean of `(B, C, h, w)` activations in (0, 1), including absent classes and padding."""
    return activation.mean()
