"""CLIP's text tower in steps: token ids, token embeddings, hidden states, sentence embedding.

CoDe changes token embeddings and reads hidden states, so that it needs the steps. `CLIP.encode_text` runs all
of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.precision import at_least_float32
from wsss_bench.transfer import to_device


class TokenizedText(NamedTuple):
    """Token ids of `N` sentences, padded to `L`."""

    ids: Tensor  # (N, L) int64: start token, words, EOS, zeros
    eos: Tensor  # (N,) int64, position of the EOS token
    rows: list[list[int]]  # the ids of each sentence without zeros, on the host

    def word_ids(self, row: int) -> list[int]:
        """Ids of one sentence, without start token and EOS."""
        return self.rows[row][1:-1]

    @property
    def longest(self) -> int:
        """Number of tokens of the longest sentence; 1 without any."""
        return max(map(len, self.rows), default=1)


def tokenize(clip: CLIP, sentences: Sequence[str], length: int | None = None) -> TokenizedText:
    """Token ids of sentences. Those longer than `length` (default: the model's) are cut, and EOS stays last.

    Padding is 0 as in OpenAI's code, where some tokenizers of the hub pad with EOS: CoDe's text segmenter
    attends to padding, too.
    """
    length = length or clip.text_length
    rows = (
        clip.tokenizer(list(sentences), truncation=True, max_length=length)["input_ids"] if sentences else []
    )
    ids = torch.zeros(len(rows), length, dtype=torch.int64)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    eos = torch.tensor([len(tokens) - 1 for tokens in rows], dtype=torch.int64)
    device = clip.image_mean.device
    return TokenizedText(to_device(ids, device), to_device(eos, device), rows)


def has_known_token(clip: CLIP, ids: Sequence[int]) -> bool:
    """Whether any of these token ids is in the model's vocabulary."""
    return bool(set(ids) - {clip.tokenizer.unk_token_id})


def embed_tokens(clip: CLIP, ids: Tensor) -> Tensor:
    """`(N, L)` ids -> `(N, L, width)` token embeddings, before positions are added."""
    return clip.model.text_model.embeddings.token_embedding(ids)


def text_hidden_states(clip: CLIP, embedded: Tensor) -> Tensor:
    """`(N, L, width)` token embeddings -> `(N, L, width)` output of the last block.

    Position embeddings are added first; attention is causal.
    """
    if not len(embedded):  # the attention of transformers fails on an empty batch
        return embedded
    length = embedded.shape[1]
    positions = clip.model.text_model.embeddings.position_embedding.weight[:length]
    causal = embedded.new_full((length, length), float("-inf")).triu(1)[None, None]
    return clip.model.text_model.encoder(
        inputs_embeds=embedded + positions, attention_mask=causal
    ).last_hidden_state


def sentence_embedding(clip: CLIP, embedded: Tensor, eos: Tensor, longest: int) -> Tensor:
    """Embeddings of sentences, taken at their EOS tokens.

    Args:
        clip: Its text tower.
        embedded: `(N, L, width)` token embeddings.
        eos: `(N,)` positions of the EOS tokens.
        longest: Number of tokens of the longest sentence (`TokenizedText.longest`).

    Returns:
        `(N, D)` unit vectors.
    """
    # attention is causal: tokens after EOS have no influence and are not computed
    states = text_hidden_states(clip, embedded[:, :longest])
    at_eos = states[torch.arange(len(eos), device=eos.device), eos]
    # in float32: in bfloat16 a unit vector has a length of 1 to three digits only
    vectors = at_least_float32(clip.model.text_projection(clip.model.text_model.final_layer_norm(at_eos)))
    return F.normalize(vectors, dim=-1)
