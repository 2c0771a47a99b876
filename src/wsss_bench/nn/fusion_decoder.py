"""Decoder on a frozen transformer: tokens of several blocks are fused, then a small transformer segments.

Zhang et al., "Frozen CLIP: A Strong Backbone for Weakly Supervised Semantic Segmentation" (WeCLIP), CVPR
2024, https://arxiv.org/abs/2406.11189, https://github.com/zbf1991/WeCLIP. ExCEL (CVPR 2025) trains the same
two parts.

Everything is computed on patch tokens `(B, n, channels)`, row by row, without class token and position
embedding: any grid of patches will do. Initialisation is PyTorch's (input projections of attention: Xavier).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsss_bench.nn.transformer_block import TransformerBlock


class TokenFusion(nn.Module):
    """Projects the tokens of each block by an MLP of its own, and mixes all of them into one token per patch.

    Args:
        num_blocks: Number of blocks whose tokens are fused.
        channels: Width of their tokens.
        width: Width of the fused tokens.
    """

    def __init__(self, num_blocks: int, channels: int, width: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(num_blocks)
        )
        self.mix = nn.Linear(num_blocks * width, width)

    def forward(self, tokens: Sequence[Tensor]) -> Tensor:
        """Tokens `(B, n, channels)` of the blocks, the first block first -> `(B, n, width)`."""
        projected = [
            projection(own) for projection, own in zip(self.projections, tokens, strict=True)
        ]  # each (B, n, width)
        return self.mix(torch.cat(projected, dim=-1))


class TransformerDecoder(nn.Module):
    """Pre-norm transformer blocks and a linear classifier, without a norm between them.

    Args:
        width: Width of the tokens, a multiple of `num_heads`.
        num_outputs: Classes, background included.
        num_blocks: Number of transformer blocks.
        num_heads: Heads of their attention.
    """

    def __init__(self, width: int, num_outputs: int, num_blocks: int = 3, num_heads: int = 8) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(TransformerBlock(width, num_heads) for _ in range(num_blocks)))
        self.classifier = nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor, grid: Sequence[int]) -> Tensor:
        """`(B, h * w, width)` tokens of a grid `(h, w)` -> `(B, num_outputs, h, w)` logits."""
        return self.classifier(self.blocks(tokens)).transpose(1, 2).unflatten(2, tuple(grid))
