"""Training-free readings of CLIP's patches: MaskCLIP, SCLIP, ClearCLIP and NACLIP.

They read patch features from a frozen CLIP and differ only in what its last block does: whom a token attends
to, and whether the residual connection and the MLP stay.

- MaskCLIP, Zhou et al., ECCV 2022, https://arxiv.org/abs/2112.01071: each token itself.
- SCLIP, Wang et al., ECCV 2024, https://arxiv.org/abs/2312.01597: similar queries, plus similar keys.
- ClearCLIP, Lan et al., ECCV 2024, https://arxiv.org/abs/2407.12442: similar queries; no residual, no MLP.
- NACLIP, Hajimiri et al., WACV 2025, https://arxiv.org/abs/2404.08181: similar keys, neighbours preferred; no
  residual, no MLP.

Departure: position embeddings are resized as `transformers` does. The authors' code passes a scale factor to
the bicubic interpolation, whose sampling places differ slightly at sizes other than that of the pretraining.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_blocks import heads_of
from wsss_bench.ranges import check_range

BIAS_BYTES = 32 * 2**20
"""Largest size of the neighbour bias that is held at a time: all queries up to about 50x50 patches."""

Attention = Literal["self", "qk", "qq", "kk", "qq+kk", "kk+neighbours"]
"""Whom a token attends to: itself only, or all tokens by the similarity of query and key, query and query,
key and key; `qq+kk` adds the two results, `kk+neighbours` prefers the neighbours of a patch.
"""


@dataclass(frozen=True)
class Reading:
    """What the last block does. The default is the reading of TCL and CoDe.

    Args:
        attention: Whom a token attends to.
        residual: Keep the residual connection around the attention.
        mlp: Keep the MLP, with its own residual connection.
        neighbour_std: Standard deviation of the neighbourhood in patches, of `kk+neighbours` only (NACLIP: 5,
            of a grid of 14x14 patches).

    Raises:
        ValueError: a standard deviation without neighbours, none with them, or one that is not positive.
    """

    attention: Attention = "self"
    residual: bool = True
    mlp: bool = True
    neighbour_std: float | None = None

    def __post_init__(self) -> None:
        key = "model.init_args.last_block.neighbour_std"
        check_range(key, self.neighbour_std, above=0)
        if (self.attention == "kk+neighbours") != (self.neighbour_std is not None):
            raise ValueError(
                f"{key} is {self.neighbour_std} with attention {self.attention}; it is the size of the "
                "neighbourhood of kk+neighbours: give both or none"
            )


def dense_features(clip: CLIP, image: Tensor, reading: Reading) -> Tensor:
    """(B, 3, H, W) normalised image -> (B, D, h, w) unit vectors, one per patch; h = H / patch_size."""
    if reading == Reading():
        return clip.dense(image)  # without the class token, which no patch sees there
    last = clip.model.vision_model.encoder.layers[-1]
    grid = clip.grid(image)
    tokens = read_block(last, clip.input_of_last_block(image), grid, reading)
    return clip.project(tokens[:, 1:]).transpose(1, 2).unflatten(2, grid)


def read_block(block: CLIPEncoderLayer, tokens: Tensor, grid: tuple[int, int], reading: Reading) -> Tensor:
    """A block of the image tower under a reading.

    Args:
        block: The last block.
        tokens: `(B, 1 + h * w, width)`, its input, the class token first; it takes part in attention.
        grid: `h, w` in patches.
        reading: What the block does.

    Returns:
        `(B, 1 + h * w, width)`.
    """
    attended = _attend(block.self_attn, block.layer_norm1(tokens), grid, reading)
    if reading.residual:
        attended = tokens + attended
    return attended + block.mlp(block.layer_norm2(attended)) if reading.mlp else attended


def _attend(attention: CLIPAttention, normed: Tensor, grid: tuple[int, int], reading: Reading) -> Tensor:
    """Output of self-attention, `(B, N, width)`. Softmax and sums are those of PyTorch's fused attention."""
    if reading.attention == "self" or not len(normed):  # fused attention fails on an empty batch
        return attention.out_proj(attention.v_proj(normed))
    query, key, value = heads_of(attention, normed)
    attend = F.scaled_dot_product_attention
    if reading.neighbour_std is not None:
        heads = _attend_to_neighbours(key, value, grid, reading.neighbour_std)
    elif reading.attention == "qk":
        heads = attend(query, key, value)
    elif reading.attention == "qq":
        heads = attend(query, query, value)
    elif reading.attention == "kk":
        heads = attend(key, key, value)
    else:
        heads = attend(query, query, value) + attend(key, key, value)
    return attention.out_proj(heads.transpose(1, 2).flatten(2))


def _attend_to_neighbours(key: Tensor, value: Tensor, grid: tuple[int, int], std: float) -> Tensor:
    """Key-key attention with the neighbour bias: `(B, heads, N, d)`, in groups of queries of `BIAS_BYTES`."""
    length = key.shape[2]
    group = max(1, BIAS_BYTES // (4 * length))
    attended = []
    for start in range(0, length, group):
        rows = torch.arange(start, min(start + group, length), device=key.device)
        bias = neighbour_bias(rows, grid, std).to(key.dtype)
        queries = key[:, :, start : start + group]
        attended.append(F.scaled_dot_product_attention(queries, key, value, attn_mask=bias))
    return torch.cat(attended, dim=2)


def neighbour_bias(rows: Tensor, grid: tuple[int, int], std: float) -> Tensor:
    """What NACLIP adds to the similarities of some tokens with all tokens.

    A Gaussian of the distance of two patches, `exp(-|p_i - p_j|^2 / (2 std^2))`, which is the product of one
    along the rows and one along the columns of the grid; 0 where one of the two is the class token. It is
    cheap against the attention that it is added to, and made anew each time.

    Args:
        rows: `(R,)` numbers of tokens; 0 is the class token, patches follow row by row.
        grid: `h, w` in patches.
        std: In patches.

    Returns:
        `(R, 1 + h * w)` float32.
    """
    height, width = grid
    patch = rows - 1
    down, across = (
        torch.exp(-(places[:, None] - torch.arange(side, device=rows.device)).square() / (2 * std**2))
        for places, side in ((patch.div(width, rounding_mode="floor"), height), (patch % width, width))
    )
    patches = (down[:, :, None] * across[:, None]).flatten(1) * (rows > 0)[:, None]
    return F.pad(patches, (1, 0))
