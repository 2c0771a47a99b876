"""CoDe's noun prompt: learned context vectors before a noun.

Wu et al., CVPR 2024, https://arxiv.org/abs/2404.04231, after CoOp (Zhou et al., "Learning to Prompt for
Vision-Language Models", IJCV 2022, https://arxiv.org/abs/2109.01134).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import embed_tokens, sentence_embedding, tokenize


class NounPrompt(nn.Module):
    """Context vectors shared by all nouns.

    Args:
        clip: Its token embeddings initialise the context.
        context: Words of the initial context.
        length: Number of context vectors; `filler` is repeated after the words.
        filler: A word of one token.

    Raises:
        ValueError: the words do not fit.
    """

    def __init__(self, clip: CLIP, context: str = "a photo of", length: int = 16, filler: str = "x") -> None:
        super().__init__()
        ids, repeated = (tokenize(clip, [words]).word_ids(0) for words in (context, filler))
        if len(ids) > length or len(repeated) != 1 or length + 3 > clip.text_length:
            raise ValueError(
                f"context {context!r} has {len(ids)} tokens and filler {filler!r} {len(repeated)}; "
                f"expected at most context_length={length}, exactly 1, and a length that leaves room for a "
                f"noun in {clip.text_length} tokens"
            )
        start = torch.tensor(ids + repeated * (length - len(ids)), device=clip.image_mean.device)
        with torch.no_grad():
            self.context = nn.Parameter(embed_tokens(clip, start).clone())  # (length, width)

    def forward(self, clip: CLIP, nouns: Sequence[str]) -> Tensor:
        """`N` nouns -> `(N, D)` unit embeddings."""
        return sentence_embedding(clip, *self.embed(clip, nouns))

    def embed(self, clip: CLIP, nouns: Sequence[str]) -> tuple[Tensor, Tensor, int]:
        """Token embeddings `(N, L, width)` of start token, context, noun and EOS; positions `(N,)` of EOS;
        number of tokens of the longest.
        """
        tokens = tokenize(clip, nouns, clip.text_length - len(self.context))
        embedded = embed_tokens(clip, tokens.ids)
        context = self.context.expand(len(nouns), -1, -1)
        prompted = torch.cat([embedded[:, :1], context, embedded[:, 1:]], dim=1)
        return prompted, tokens.eos + len(self.context), tokens.longest + len(self.context)
