"""Transformer blocks of CLIP's image tower, computed in other ways than `transformers` offers.

They use the weights of its `CLIPEncoderLayer` directly, so that no setting of a shared block changes.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

ATTENTION_BYTES = 256 * 2**20
"""Largest size of the attention weights of several heads that are held at a time."""


def run_blocks(blocks: Iterable[nn.Module], tokens: Tensor) -> Tensor:
    """Apply blocks with ordinary attention. They fail on an empty batch, which is returned unchanged."""
    for block in blocks:
        tokens = _tensor(block(tokens, None)) if len(tokens) else tokens
    return tokens


def block_with_attention(block: CLIPEncoderLayer, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """An ordinary block together with its attention weights.

    Args:
        block: A block of the image tower.
        tokens: `(B, N, width)`, its input.

    Returns:
        `(B, N, width)` tokens and `(B, N, N)` attention weights, as `attend_with_weights`.
    """
    attended, weights = attend_with_weights(block.self_attn, block.layer_norm1(tokens))
    tokens = tokens + attended
    return tokens + block.mlp(block.layer_norm2(tokens)), weights


def attend_with_weights(attention: CLIPAttention, normed: Tensor) -> tuple[Tensor, Tensor]:
    """Self-attention together with its weights.

    The weights of all heads would take `heads` times the memory of their mean; heads are therefore computed
    in groups of `ATTENTION_BYTES`.

    Args:
        attention: Of a block of the image tower.
        normed: `(B, N, width)`, its input.

    Returns:
        `(B, N, width)` output, and `(B, N, N)` float32 attention weights without gradient, rows for queries,
        averaged over the heads; rows add up to 1.
    """
    queries, keys, values = heads_of(attention, normed)
    batch, heads, length, _ = queries.shape
    group = max(1, ATTENTION_BYTES // (4 * batch * length**2))
    mean = torch.zeros(batch, length, length, device=normed.device)
    attended = []
    parts = (part.split(group, dim=1) for part in (queries, keys, values))
    for query, key, value in zip(*parts, strict=True):
        weights = (query * attention.scale @ key.mT).float().softmax(dim=-1)
        mean += weights.detach().sum(dim=1) / heads
        attended.append(weights.to(value.dtype) @ value)
    return attention.out_proj(torch.cat(attended, dim=1).transpose(1, 2).flatten(2)), mean


def self_only_block(block: CLIPEncoderLayer, tokens: Tensor) -> Tensor:
    """A transformer block in which each token attends to itself only: (B, N, width) -> (B, N, width).

    The softmax over one token is 1, so attention reduces to the value and output projections;
    residual connections and MLP are kept.
    """
    attention = block.self_attn
    tokens = tokens + attention.out_proj(attention.v_proj(block.layer_norm1(tokens)))
    return tokens + block.mlp(block.layer_norm2(tokens))


def class_token_block(block: CLIPEncoderLayer, tokens: Tensor) -> Tensor:
    """Output of a transformer block for the first token only: (B, N, width) -> (B, width)."""
    attention = block.self_attn
    normed = block.layer_norm1(tokens)
    query = split_heads(attention, attention.q_proj(normed[:, :1]))
    key, value = (split_heads(attention, layer(normed)) for layer in (attention.k_proj, attention.v_proj))
    attended = F.scaled_dot_product_attention(query, key, value)[:, :, 0].flatten(1)  # (B, width)
    token = tokens[:, 0] + attention.out_proj(attended)
    return token + block.mlp(block.layer_norm2(token))


def heads_of(attention: CLIPAttention, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of `(B, N, width)` normed tokens, each `(B, heads, N, width / heads)`."""
    layers = (attention.q_proj, attention.k_proj, attention.v_proj)
    query, key, value = (split_heads(attention, layer(normed)) for layer in layers)
    return query, key, value


def split_heads(attention: CLIPAttention, tokens: Tensor) -> Tensor:
    """`(B, N, width)` -> `(B, heads, N, width / heads)`."""
    return tokens.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)


def _tensor(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    # releases of transformers differ in whether a block returns its output bare or in a tuple
    return output if isinstance(output, Tensor) else output[0]
