r"""GradCAM of a frozen CLIP for the labelled classes of images.

Lin et al., "CLIP is Also an Efficient Segmenter" (CLIP-ES), CVPR 2023, https://arxiv.org/abs/2212.09506,
sections 3.1 and 3.2; as in https://github.com/linyq2117/CLIP-ES. With `a` the output of the first norm of the
last block, `f` the mean of the patch embeddings, and texts `t` of the labelled classes and of backgrounds,

.. math::

    p = \operatorname{softmax}(s \cos(f, t)), \qquad
    \alpha_k = \operatorname{mean}_n \partial p_k / \partial a_n, \qquad
    m_k = \operatorname{ReLU}(\textstyle\sum_c \alpha_{kc} a_c)

Only the last block is differentiated. Images do not depend on each other, so that one backward pass serves
the first label of all images of a batch, the next one the second label.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from wsss_bench.nn.attention_affinity import min_max
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_blocks import attend_with_weights

Target = Literal["probability", "logit"]


class LabelGradients(NamedTuple):
    """Gradients of the labelled classes of `B` images with at most `R` labels each."""

    activations: Tensor
    """`(B, n, width)`: `a` of the patches."""
    channel_weights: Tensor
    """`(B, R, width)`: `alpha` of each label; 0 behind the last label of an image."""
    classes: Tensor
    """`(B, R)` int64: the class of each label, in ascending order."""
    probabilities: Tensor
    """`(B, C + J)`: `p`; 0 for classes without label."""
    attention: Tensor
    """`(B, 1 + n, 1 + n)`: attention weights of the last block, averaged over the heads."""


class GradCAM(NamedTuple):
    """Maps of `B` images, and what the same pass over the last block gives besides."""

    maps: Tensor
    """`(B, C, h, w)` in [0, 1); 0 for classes without label, and where no gradient is positive."""
    attention: Tensor
    """`(B, 1 + n, 1 + n)`: attention weights of the last block, averaged over the heads."""


def grad_cam(
    clip: CLIP,
    tokens: Tensor,
    grid: tuple[int, int],
    classes: Tensor,
    backgrounds: Tensor,
    labels: Tensor,
    target: Target = "probability",
    most_labels: int | None = None,
) -> GradCAM:
    """Maps of the labelled classes, divided by their maximum twice as in the official code.

    It computes in float32, since gradients of 1e-4 and less are lost under autocast, and differentiates
    whatever mode the caller is in; but inside of inference mode (`Method.gradients_at_inference`).

    Args:
        clip: CLIP, whose weights are not trained.
        tokens: `(B, 1 + n, width)`, the input of the last block.
        grid: Height and width of the patch grid.
        classes: `(C, D)` unit text embeddings.
        backgrounds: `(J, D)` unit text embeddings that compete with those of the labelled classes.
        labels: `(B, C)` multi-hot.
        target: What is differentiated; `logit` (`s cos`) leaves the competition out.
        most_labels: Labels of the image that has the most; None: they are counted, and the device waited for.
    """
    found = label_gradients(clip, tokens, classes, backgrounds, labels, target, most_labels)
    with torch.autocast(tokens.device.type, enabled=False):
        raw = (found.channel_weights @ found.activations.mT).relu().unflatten(2, grid)  # (B, R, h, w)
    maps = min_max(min_max(raw))
    full = maps.new_zeros(len(maps), len(classes), *grid)
    index = found.classes[:, :, None, None].expand_as(maps)
    return GradCAM(full.scatter_add(1, index, maps), found.attention)


def label_gradients(
    clip: CLIP,
    tokens: Tensor,
    classes: Tensor,
    backgrounds: Tensor,
    labels: Tensor,
    target: Target = "probability",
    most_labels: int | None = None,
) -> LabelGradients:
    """Gradients at the first norm of the last block; arguments as of `grad_cam`.

    The largest number of labels of an image decides how many backward passes there are.
    """
    block = clip.model.vision_model.encoder.layers[-1]
    most = most_labels
    if most is None:
        # in a prediction, once for each scale: seed_maps is given labels on the device alone
        most = int(labels.count_nonzero(dim=1).max()) if labels.numel() else 0
    chosen = labels.argsort(dim=1, descending=True, stable=True)[:, :most]  # (B, R)
    is_label = labels.gather(1, chosen) > 0
    with torch.autocast(tokens.device.type, enabled=False), torch.enable_grad():
        tokens = tokens.detach().float()
        activations = block.layer_norm1(tokens).detach().requires_grad_()
        attended, attention = attend_with_weights(block.self_attn, activations)
        output = tokens + attended
        output = output + block.mlp(block.layer_norm2(output))
        patches = clip.model.vision_model.post_layernorm(output[:, 1:])
        feature = clip.model.visual_projection(patches.mean(dim=1))  # (B, D)
        texts = torch.cat([classes, backgrounds]).float()
        cosines = torch.nn.functional.normalize(feature, dim=-1) @ texts.T
        logits = clip.model.logit_scale.exp().float() * cosines  # (B, C + J)
        competing = torch.cat([labels > 0, labels.new_ones(len(labels), len(backgrounds)) > 0], dim=1)
        probabilities = logits.masked_fill(~competing, -torch.inf).softmax(dim=1)
        scores = (probabilities if target == "probability" else logits).gather(1, chosen) * is_label
        gradients = [
            torch.autograd.grad(scores[:, rank].sum(), activations, retain_graph=rank + 1 < most)[0]
            for rank in range(most)
        ]
    weights = [gradient[:, 1:].mean(dim=1) for gradient in gradients]
    return LabelGradients(
        activations.detach()[:, 1:],
        torch.stack(weights, dim=1) if weights else tokens.new_zeros(len(tokens), 0, tokens.shape[2]),
        chosen,
        probabilities.detach(),
        attention,
    )
