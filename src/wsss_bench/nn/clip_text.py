"""The text tower of CLIP in steps: tokens, word embeddings, states, sentence embedding. CoDe steps in between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP


class Tokens(NamedTuple):
    """`N` sentences of at most `L` tokens."""

    ids: Tensor  # (N, L) int64: start, words, end, zeros
    end: Tensor  # (N,) int64, place of the end token

    def words(self, row: int) -> list[int]:
        """Ids of one sentence, without start and end."""
        return self.ids[row, 1 : self.end[row]].tolist()


def tokenize(clip: CLIP, sentences: Sequence[str], length: int | None = None) -> Tokens:
    """Tokens of `sentences`; what is longer than `length` (the model's, by default) is cut, and the end token stays.

    Padding is 0 as in OpenAI's code (some tokenizers of the hub pad with the end token), because CoDe's text segmenter looks
    at padding too.
    """
    length = length or clip.text_length
    rows = (
        clip.tokenizer(list(sentences), truncation=True, max_length=length)["input_ids"] if sentences else []
    )
    ids = torch.zeros(len(rows), length, dtype=torch.int64)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    end = torch.tensor([len(tokens) - 1 for tokens in rows], dtype=torch.int64)
    return Tokens(ids.to(clip.image_mean.device), end.to(clip.image_mean.device))


def says_nothing(clip: CLIP, words: Sequence[int]) -> bool:
    """Whether these ids hold no token that the model knows."""
    return not set(words) - {clip.tokenizer.unk_token_id}


def embed_words(clip: CLIP, ids: Tensor) -> Tensor:
    """`(N, L)` ids -> `(N, L, width)` word embeddings, before positions."""
    return clip.model.text_model.embeddings.token_embedding(ids)


def text_states(clip: CLIP, words: Tensor) -> Tensor:
    """`(N, L, width)` word embeddings -> `(N, L, width)` output of the last block: positions added, causal attention."""
    if not len(words):  # the attention of transformers cannot run over nothing
        return words
    length = words.shape[1]
    positions = clip.model.text_model.embeddings.position_embedding.weight[:length]
    causal = words.new_full((length, length), float("-inf")).triu(1)[None, None]
    return clip.model.text_model.encoder(
        inputs_embeds=words + positions, attention_mask=causal
    ).last_hidden_state


def sentence_embedding(clip: CLIP, words: Tensor, end: Tensor) -> Tensor:
    """`(N, L, width)` word embeddings -> `(N, D)` unit vectors, read at the end tokens `(N,)`."""
    length = int(end.max()) + 1 if len(end) else 1  # causal attention: what follows the end tells it nothing
    states = text_states(clip, words[:, :length])
    at_end = states[torch.arange(len(end), device=end.device), end]
    return F.normalize(clip.model.text_projection(clip.model.text_model.final_layer_norm(at_end)), dim=-1)


class NounPrompt(nn.Module):
    """CoDe's noun prompt learner: context vectors that stand before every noun, as in CoOp (Zhou et al., IJCV 2022).

    Args:
        clip: Its word embeddings are where the context starts.
        context: Words that it starts from.
        length: Vectors; `filler` repeats after the words.
        filler: A word of one token.

    Raises:
        ValueError: the words do not fit.
    """

    def __init__(self, clip: CLIP, context: str = "a photo of", length: int = 16, filler: str = "x") -> None:
        super().__init__()
        ids, repeated = (tokenize(clip, [words]).words(0) for words in (context, filler))
        if len(ids) > length or len(repeated) != 1 or length + 3 > clip.text_length:
            raise ValueError(
                f"context {context!r} has {len(ids)} tokens and filler {filler!r} {len(repeated)}; expected at most "
                f"context_length={length}, exactly 1, and a length that leaves room for a noun in {clip.text_length} tokens"
            )
        start = torch.tensor(ids + repeated * (length - len(ids)), device=clip.image_mean.device)
        with torch.no_grad():
            self.context = nn.Parameter(embed_words(clip, start).clone())  # (length, width)

    def forward(self, clip: CLIP, nouns: Sequence[str]) -> Tensor:
        """`N` nouns -> `(N, D)` unit embeddings."""
        words, end = self.words(clip, nouns)
        return sentence_embedding(clip, words, end)

    def words(self, clip: CLIP, nouns: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Start, context, noun and end as word embeddings `(N, L, width)`, and the places `(N,)` of the ends."""
        tokens = tokenize(clip, nouns, clip.text_length - len(self.context))
        embedded = embed_words(clip, tokens.ids)
        context = self.context.expand(len(nouns), -1, -1)
        return torch.cat([embedded[:, :1], context, embedded[:, 1:]], dim=1), tokens.end + len(self.context)
