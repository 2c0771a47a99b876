r"""Attention of a frozen CLIP, corrected by what a decoder on it has learned.

The refinement module (RFM) of WeCLIP (Zhang et al., CVPR 2024, https://arxiv.org/abs/2406.11189,
https://github.com/zbf1991/WeCLIP); ExCEL (CVPR 2025) uses it too. With the decoder's affinity :math:`A_f` and
the attention :math:`A_l` of the last blocks,

.. math::

    A = A_f \odot \operatorname{mean}_{l : d_l \le \bar d} A_l, \qquad
    d_l = \textstyle\sum_{ij} (A_f - A_l)_{ij}

Since the sum of :math:`A_f` is the same for all blocks, the choice does not depend on the decoder: it keeps
the blocks whose patches attend to each other more, and to the class token less, than those of the average
block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_bench.nn.precision import in_float32

EPSILON = 1e-5
"""Added to the number of blocks that are kept."""


@in_float32
def kept_blocks(attention: Tensor) -> Tensor:
    """`(L, B, n, n)` attention between patches -> `(L, B)` bool, the blocks that are kept; at least one."""
    total = attention.sum(dim=(2, 3))
    # the largest is never below the mean, but by rounding
    return total >= torch.minimum(total.mean(dim=0), total.amax(dim=0))


@in_float32
def refined_attention(attention: Tensor, affinity: Tensor) -> Tensor:
    """Mean of the blocks that are kept, times the affinity of the decoder; in float32.

    Args:
        attention: `(L, B, n, n)` of the last `L` blocks, between patches.
        affinity: `(B, n, n)` in (0, 1), without gradient.

    Returns:
        `(B, n, n)` >= 0.
    """
    kept = kept_blocks(attention).float()
    mean = torch.einsum("lb,lbij->bij", kept, attention) / (kept.sum(dim=0) + EPSILON)[:, None, None]
    return mean * affinity
