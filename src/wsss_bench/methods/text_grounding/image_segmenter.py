"""TCL's grounder, which CoDe calls image segmenter: pixel features in CLIP's space, and the mask of a text.

Cha et al., CVPR 2023, https://arxiv.org/abs/2212.00785; Wu et al., CVPR 2024,
https://arxiv.org/abs/2404.04231. A trainable copy of CLIP's last block, a gated decoder, and a trainable copy
of CLIP's final norm and projection. Before training the unit pixel features are CLIP's dense features,
upsampled.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.text_grounding.gated_decoder import GatedDecoder
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_blocks import self_only_block
from wsss_bench.nn.precision import in_float32

SIGMOID_SLOPE = 10.0
"""Initial factor from cosine to mask logit (`w` of Sim2Mask in TCL and CoDe)."""


class ImageSegmenter(nn.Module):
    """Pixel features, and mask logits from their cosine with a text.

    Masks come from unit features in both methods. The other loss terms use the unit features in CoDe, and the
    features as they are in TCL.

    Args:
        clip: Source of the copied weights.
        double: See `GatedDecoder`.
        cosine_threshold: Cosine at which the mask probability is one half before training.
    """

    def __init__(self, clip: CLIP, double: bool, cosine_threshold: float) -> None:
        super().__init__()
        vision = clip.model.vision_model
        self.block = deepcopy(vision.encoder.layers[-1])
        # self-only attention uses no query or key
        del self.block.self_attn.q_proj, self.block.self_attn.k_proj
        self.decoder = GatedDecoder(vision.config.hidden_size, double)
        self.norm = deepcopy(vision.post_layernorm)
        self.projection = deepcopy(clip.model.visual_projection)
        self.requires_grad_(True)
        self.weight = nn.Parameter(torch.tensor(SIGMOID_SLOPE))
        self.bias = nn.Parameter(torch.tensor(-SIGMOID_SLOPE * cosine_threshold))

    def forward(self, patches: Tensor) -> Tensor:
        """Input of CLIP's last block `(B, width, h, w)`, patches only -> pixel features `(B, D, 4h, 4w)`."""
        tokens = self_only_block(self.block, patches.flatten(2).transpose(1, 2))
        pixels = self.decoder(tokens.transpose(1, 2).unflatten(2, patches.shape[2:]))
        return self._project(pixels)

    @in_float32
    def _project(self, pixels: Tensor) -> Tensor:
        """Final norm and projection, `(B, width, H, W)` -> `(B, D, H, W)` float32.

        Total variations are small differences of what they give.
        """
        return self.projection(self.norm(pixels.movedim(1, -1))).movedim(-1, 1)

    @in_float32
    def mask_logits(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Unit pixel features `(B, D, H, W)`, unit text embeddings `(C, D)` -> mask logits `(B, C, H, W)`."""
        return self.weight * torch.einsum("bdhw,cd->bchw", pixels, text) + self.bias


def unit_pixels(features: Tensor) -> Tensor:
    """Pixel features `(B, D, H, W)` divided by their length."""
    return F.normalize(features, dim=1, eps=1e-6)


def hard_masks(logits: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
    """Gumbel sigmoid: a sampled binary mask with the gradient of the soft sample (straight-through).

    Args:
        logits: Mask logits, any shape.
        uniform: Uniform noise in (0, 1), same shape.
        temperature: Temperature of the soft sample.
    """
    soft = torch.sigmoid((logits + uniform.logit()) / temperature)
    hard = (soft > 0.5).to(soft.dtype)
    return hard + (soft - soft.detach())  # in this order the added part is exactly 0
