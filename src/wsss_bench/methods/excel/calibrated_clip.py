r"""CLIP's image tower with calibrated attention: one pass over an image, for everything that ExCEL reads.

ExCEL (CVPR 2025), section 3.3, static visual calibration (SVC). The last blocks have two streams. The
original one is ordinary. With its queries, keys and values :math:`q, k, v` of head :math:`h`, and
:math:`S_u = \operatorname{softmax}(u u^T / \sqrt d)`, the calibrated one adds

.. math:: W_o (K v) + b_o, \qquad K = \sum_h \tfrac13 (S_q + S_k + S_v)

in each block, without norm and MLP. Rows of K add up to the number of heads, as in the published code.

Learnable calibration (LVC) adds the same matrix E to K, between patches, in each head and each of these
blocks. The original stream does not see it, and the calibrated one is linear in K: E moves its patches by
:math:`H E \sum_l W_o v`. So LVC needs no second pass over the image.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_blocks import ATTENTION_BYTES, attend_with_weights, heads_of
from wsss_bench.nn.precision import in_float32

Tokens = Literal["published", "clean"]
"""What is called the tokens of a block: as the authors' network gets them, or its output.

The published network adds in place to tensors that are already in the list of block outputs. Its adapter
therefore gets the final calibrated stream for the last ordinary block, and for each calibrated block but the
last its output with the attention of the next block added.
"""


class Reading(NamedTuple):
    """What one pass over `B` images of `n` patches gives; the class token comes first."""

    calibrated: Tensor
    """`(B, 1 + n, width)` calibrated tokens after the last block, class token of the original stream."""
    moved_by_bias: Tensor
    """`(B, n, width)`: LVC adds the product of its bias with this to the calibrated patches."""
    tokens: list[Tensor]
    """`(B, 1 + n, width)` for each block, see `Tokens`."""
    attention: Tensor
    """`(A, B, n, n)` float32 attention weights between patches of the last `A` blocks.

    Ordinary softmax weights: the mean over heads of ordinary blocks, the **sum** of calibrated ones.
    """

    @in_float32
    def with_bias(self, bias: Tensor) -> Tensor:
        """Calibrated tokens under a bias `(B, n, n)` of learnable calibration, as `calibrated`."""
        patches = self.calibrated[:, 1:] + bias @ self.moved_by_bias
        return torch.cat([self.calibrated[:, :1], patches], dim=1)


@torch.no_grad()
@in_float32
def read(
    clip: CLIP, image: Tensor, calibrated_blocks: int, attention_blocks: int, tokens: Tokens = "published"
) -> Reading:
    """One pass of the image tower, without gradient, in float32 as published.

    Args:
        clip: The frozen CLIP.
        image: `(B, 3, H, W)` normalised, sides multiples of the patch size.
        calibrated_blocks: Number of calibrated blocks, the last ones; fewer than all. 0: an ordinary CLIP.
        attention_blocks: Number of blocks whose attention is returned, the last ones.
        tokens: What is returned as tokens of the blocks.
    """
    first = clip.num_blocks - calibrated_blocks
    ordinary = range(max(clip.num_blocks - attention_blocks, 0), first)
    outputs = list(clip.block_outputs(image, ordinary, "bilinear", blocks=first))
    weights = [output.attention for output in outputs if output.attention is not None]
    clean = [output.tokens for output in outputs]
    original = calibrated = clean[-1]
    moved = torch.zeros_like(original[:, 1:])
    before_mlp = []
    for block in clip.model.vision_model.encoder.layers[first:]:
        attention, normed = block.self_attn, block.layer_norm1(original)
        values = attention.v_proj(normed)  # (B, N, width)
        calibrated = calibrated + attention.out_proj(calibration(heads_of(attention, normed)) @ values)
        moved = moved + F.linear(values[:, 1:], attention.num_heads * attention.out_proj.weight)
        attended, mean = attend_with_weights(attention, normed)
        before_mlp.append(original + attended)
        original = before_mlp[-1] + block.mlp(block.layer_norm2(before_mlp[-1]))
        clean.append(original)
        weights.append(mean * attention.num_heads)
    calibrated = torch.cat([original[:, :1], calibrated[:, 1:]], dim=1)
    if tokens == "published" and calibrated_blocks:
        clean = [*clean[: first - 1], calibrated, *before_mlp[1:], original]
    return Reading(calibrated, moved, clean, torch.stack(weights[-attention_blocks:])[..., 1:, 1:])


def calibration(heads: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Queries, keys and values `(B, heads, N, d)` -> K `(B, N, N)` float32, whose rows add up to `heads`.

    Computed for groups of heads, since the weights of all heads would take their number of times the memory.
    """
    batch, _, length, width = heads[0].shape
    group = max(1, ATTENTION_BYTES // (4 * batch * length**2))
    total = torch.zeros(batch, length, length, device=heads[0].device)
    for vectors in heads:
        for part in vectors.split(group, dim=1):
            similarity = (part @ part.mT).float() * width**-0.5
            total += similarity.softmax(dim=-1).sum(dim=1)
    return total / 3
