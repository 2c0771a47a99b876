"""CoDe's text segmenter: which tokens of a caption speak of which noun.

Wu et al., "Image-Text Co-Decomposition for Text-Supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2404.04231.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP

NO_TARGET = -1
"""Label of a token that is not supervised."""


class QuickGELU(nn.Module):
    """CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class TextBlock(nn.Module):
    """A pre-norm transformer block in which every token sees all others.

    Args:
        width: Of the tokens.
        heads: Of the attention.
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

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class TextSegmenter(nn.Module):
    """Soft word masks: the nouns of a caption, and none of them, compete for each of its tokens.

    Args:
        clip: For the sizes. Where the width of its text tower is not that of its common space, a linear map that starts as
            CLIP's text projection follows the blocks; in published models the two are equal and there is none.
        blocks: Transformer blocks.
    """

    def __init__(self, clip: CLIP, blocks: int = 2) -> None:
        super().__init__()
        heads = clip.model.text_model.encoder.layers[0].self_attn.num_heads
        self.blocks = nn.Sequential(*(TextBlock(clip.text_width, heads) for _ in range(blocks)))
        self.projection: nn.Module = nn.Identity()
        if clip.text_width != clip.embed_dim:
            self.projection = nn.Linear(clip.text_width, clip.embed_dim, bias=False)
            self.projection.load_state_dict(clip.model.text_projection.state_dict())
        self.weight = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, states: Tensor, nouns: Tensor) -> Tensor:
        """Logits per token.

        Args:
            states: `(B, L, width)`, captions after CLIP's last text block, before its final norm.
            nouns: `(N, B, D)` unit embeddings of the nouns of each caption.

        Returns:
            `(B, N + 1, L)`; entry 0, of no noun, is 0.
        """
        tokens = F.normalize(self.projection(self.blocks(states)), dim=-1)  # (B, L, D)
        return noun_logits(tokens, nouns, self.weight, self.bias)


def noun_logits(tokens: Tensor, nouns: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Unit tokens `(B, L, D)` and unit nouns `(N, B, D)` -> `(B, N + 1, L)`: `weight * cosine + bias`, and 0 for no noun."""
    logits = weight * torch.einsum("bld,nbd->bnl", tokens, nouns) + bias
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


def word_masks(logits: Tensor) -> Tensor:
    """Logits `(B, N + 1, L)` -> probabilities `(N, B, L)` of the nouns; over nouns they sum to at most 1 for each token."""
    return logits.softmax(dim=1)[:, 1:].transpose(0, 1)


def word_labels(
    caption: Sequence[int], nouns: Sequence[Sequence[int]], drawn: Sequence[Sequence[int]]
) -> Tensor:
    """What the tokens of a caption are trained to be.

    Args:
        caption: Its `L` token ids; a noun that was cut off at the end of the context has no token here, and no label.
        nouns: Token ids of all its nouns.
        drawn: Those of the nouns that are trained on; a later one wins where two share tokens.

    Returns:
        `(L,)` int64: `k` (from 1) on every occurrence of drawn noun `k`, 0 on other nouns, `NO_TARGET` elsewhere.
    """
    labels = torch.full((len(caption),), NO_TARGET)
    caption = list(caption)
    for label, noun in [*((0, noun) for noun in nouns), *enumerate(drawn, start=1)]:
        pieces = list(noun)
        for start in range(len(caption) - len(pieces) + 1):
            if pieces and caption[start : start + len(pieces)] == pieces:
                labels[start : start + len(pieces)] = label
    return labels
