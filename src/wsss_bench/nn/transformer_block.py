"""The transformer block of CLIP, to be trained from scratch (text segmenter of CoDe, decoder of WeCLIP).

Parameters have the names of OpenAI's CLIP. The three input projections of the attention are one parameter:
the bias of the keys alone would have no gradient, since the softmax does not depend on it.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class TransformerBlock(nn.Module):
    """A pre-norm transformer block in which every token attends to all tokens.

    Args:
        width: Width of the tokens, a multiple of `heads`.
        heads: Number of attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width), gelu=QuickGELU(), c_proj=nn.Linear(4 * width, width)
            )
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, n, width)` -> `(B, n, width)`."""
        normed = self.ln_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.ln_2(tokens))
