r"""CLIP with fixed weights: the embeddings and input gradients of `CLIP`, computed faster.

QuickGELU, :math:`x \sigma(1.702 x)`, becomes SiLU, :math:`x \sigma(x)`: one fused kernel in place of three.
The factor 1.702 moves into the weights of the linear layers before and after it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
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


@torch.no_grad()
def _fold_quick_gelu(block: CLIPEncoderLayer) -> None:
    """Replace the QuickGELU of a block by SiLU with rescaled weights, in place."""
    mlp = block.mlp
    mlp.fc1.weight *= QUICK_GELU
    mlp.fc1.bias *= QUICK_GELU
    mlp.fc2.weight /= QUICK_GELU
    mlp.activation_fn = nn.SiLU()
