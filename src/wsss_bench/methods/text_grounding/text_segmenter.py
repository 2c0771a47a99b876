"""CoDe's text segmenter: which tokens of a caption belong to which noun.

Wu et al., "Image-Text Co-Decomposition for Text-Supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2404.04231.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.precision import in_float32
from wsss_bench.nn.transformer_block import TransformerBlock

IGNORED_TOKEN = -1
"""Pseudo label of a token that is not supervised."""


class TextSegmenter(nn.Module):
    """Soft text masks: the nouns of a caption, and a class "none", compete for each of its tokens.

    Args:
        clip: Gives the sizes. If its text tower and its embedding space differ in width, a linear map,
            initialised as CLIP's text projection, follows the blocks; in published models the widths are
            equal and there is none.
        blocks: Number of transformer blocks.
    """

    def __init__(self, clip: CLIP, blocks: int = 2) -> None:
        super().__init__()
        heads = clip.model.text_model.encoder.layers[0].self_attn.num_heads
        self.blocks = nn.Sequential(*(TransformerBlock(clip.text_width, heads) for _ in range(blocks)))
        self.projection: nn.Module = nn.Identity()
        if clip.text_width != clip.embed_dim:
            self.projection = nn.Linear(clip.text_width, clip.embed_dim, bias=False)
            self.projection.load_state_dict(clip.model.text_projection.state_dict())
        self.weight = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, states: Tensor, nouns: Tensor) -> Tensor:
        """Class logits per token.

        Args:
            states: `(B, L, width)` output of CLIP's last text block for the captions, before the final norm.
            nouns: `(N, B, D)` unit embeddings of the nouns of each caption.

        Returns:
            `(B, N + 1, L)`; the logit of class 0, "none", is 0.
        """
        tokens = F.normalize(self.projection(self.blocks(states)), dim=-1)  # (B, L, D)
        return noun_logits(tokens, nouns, self.weight, self.bias)


@in_float32
def noun_logits(tokens: Tensor, nouns: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Unit tokens `(B, L, D)`, unit nouns `(N, B, D)` -> `(B, N + 1, L)`.

    The logit of a noun is `weight * cosine + bias`; that of class 0, "none", is 0.
    """
    logits = weight * torch.einsum("bld,nbd->bnl", tokens, nouns) + bias
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


def text_masks(logits: Tensor) -> Tensor:
    """Logits `(B, N + 1, L)` -> probabilities `(N, B, L)` of the nouns; they sum to at most 1 per token."""
    return logits.softmax(dim=1)[:, 1:].transpose(0, 1)


def token_pseudo_labels(
    caption: Sequence[int], nouns: Sequence[Sequence[int]], drawn: Sequence[Sequence[int]]
) -> Tensor:
    """Pseudo labels of the tokens of a caption, from the occurrences of its nouns.

    Args:
        caption: `L` token ids. A noun that was cut off at the end of the context has no label.
        nouns: Token ids of all its nouns.
        drawn: Token ids of the nouns that are trained on; where two share tokens, the later one counts.

    Returns:
        `(L,)` int64: `k` (from 1) on every occurrence of drawn noun `k`, 0 on other nouns, `IGNORED_TOKEN`
        elsewhere.
    """
    labels = torch.full((len(caption),), IGNORED_TOKEN)
    caption = list(caption)
    for label, noun in [*((0, noun) for noun in nouns), *enumerate(drawn, start=1)]:
        ids = list(noun)
        for start in range(len(caption) - len(ids) + 1):
            if ids and caption[start : start + len(ids)] == ids:
                labels[start : start + len(ids)] = label
    return labels
