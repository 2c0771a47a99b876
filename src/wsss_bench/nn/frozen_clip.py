r"""A CLIP that is never trained and reads whole images: the embeddings of `CLIP`, with less work.

Two exact rewritings, in the forward and in the backward pass. The last block computes the class token alone, since the patch
tokens that it would also make are read by nobody. And QuickGELU, :math:`x \sigma(1.702 x)`, becomes SiLU, one fused kernel in
place of three, with the factor moved into the linear layers before and after it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from wsss_bench.nn.clip import CLIP

QUICK_GELU = 1.702


class FrozenCLIP(CLIP):
    """CLIP without gradients in its weights.

    Args:
        name: As in `CLIP`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.requires_grad_(False)
        config: Any = self.model.config
        if config.vision_config.hidden_act == "quick_gelu":
            for block in self.model.vision_model.encoder.layers:
                _fold_quick_gelu(block)

    def encode_image(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised image -> (B, D) unit vectors of the class token, ordinary attention."""
        tokens = self.embed_patches(image)
        *blocks, last = self.model.vision_model.encoder.layers
        for block in blocks:
            output = block(tokens, None)
            tokens = output if isinstance(output, Tensor) else output[0]
        return self.project(class_token_block(last, tokens))


def class_token_block(block: CLIPEncoderLayer, tokens: Tensor) -> Tensor:
    """What a transformer block makes of the first token: (B, N, width) -> (B, width)."""
    attention = block.self_attn
    normed = block.layer_norm1(tokens)
    query, key, value = (
        projection(part)
        .unflatten(2, (attention.num_heads, -1))
        .transpose(1, 2)  # (B, heads, 1 or N, width / heads)
        for projection, part in (
            (attention.q_proj, normed[:, :1]),
            (attention.k_proj, normed),
            (attention.v_proj, normed),
        )
    )
    attended = F.scaled_dot_product_attention(query, key, value)[:, :, 0].flatten(1)  # (B, width)
    token = tokens[:, 0] + attention.out_proj(attended)
    return token + block.mlp(block.layer_norm2(token))


@torch.no_grad()
def _fold_quick_gelu(block: CLIPEncoderLayer) -> None:
    mlp = block.mlp
    mlp.fc1.weight *= QUICK_GELU
    mlp.fc1.bias *= QUICK_GELU
    mlp.fc2.weight /= QUICK_GELU
    mlp.activation_fn = nn.SiLU()
