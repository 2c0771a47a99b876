"""TCL's grounder, CoDe's image segmenter: a feature per pixel in CLIP's space, and a mask from its cosine with a text.

Cha et al., CVPR 2023, https://arxiv.org/abs/2212.00785; Wu et al., CVPR 2024, https://arxiv.org/abs/2404.04231. A trainable
copy of CLIP's last block, final norm and projection around a gated decoder: before training it is the value-only reading of
CLIP, enlarged.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.text_grounding.gated_decoder import GatedDecoder
from wsss_bench.nn.clip import CLIP, self_only_block

SLOPE = 10.0
"""Of a mask's sigmoid in the cosine, before training (TCL, CoDe)."""


class ImageSegmenter(nn.Module):
    """Pixel features and masks.

    Args:
        clip: Where the copies come from.
        double: See `GatedDecoder`.
        cosine_threshold: Cosine at which a pixel is as likely in a mask as out of it, before training.
    """

    def __init__(self, clip: CLIP, double: bool, cosine_threshold: float) -> None:
        super().__init__()
        vision = clip.model.vision_model
        self.block = deepcopy(vision.encoder.layers[-1])
        del (
            self.block.self_attn.q_proj,
            self.block.self_attn.k_proj,
        )  # a token that sees itself alone asks nobody
        self.decoder = GatedDecoder(vision.config.hidden_size, double)
        self.norm = deepcopy(vision.post_layernorm)
        self.projection = deepcopy(clip.model.visual_projection)
        self.requires_grad_(True)
        self.weight = nn.Parameter(torch.tensor(SLOPE))
        self.bias = nn.Parameter(torch.tensor(-SLOPE * cosine_threshold))

    def forward(self, patches: Tensor) -> Tensor:
        """Patch tokens before CLIP's last block `(B, width, h, w)` -> unit pixel features `(B, D, 4h, 4w)`."""
        tokens = self_only_block(self.block, patches.flatten(2).transpose(1, 2))
        pixels = self.decoder(tokens.transpose(1, 2).unflatten(2, patches.shape[2:]))
        pixels = self.projection(self.norm(pixels.movedim(1, -1)))  # (B, 4h, 4w, D)
        return F.normalize(pixels, dim=-1, eps=1e-6).movedim(-1, 1)

    def mask_logits(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Unit features `(B, D, H, W)` and unit texts `(C, D)` -> logits `(B, C, H, W)` of their masks."""
        return self.weight * torch.einsum("bdhw,cd->bchw", pixels, text) + self.bias


def hard_masks(logits: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
    """Gumbel sigmoid: a sampled mask of zeros and ones with the gradient of the soft sample (straight through).

    Args:
        logits: Any shape.
        uniform: Draws in (0, 1), same shape.
        temperature: Of the soft sample.
    """
    soft = torch.sigmoid((logits + uniform.logit()) / temperature)
    hard = (soft > 0.5).to(soft.dtype)
    return hard + (soft - soft.detach())  # in this order the added part is exactly 0
