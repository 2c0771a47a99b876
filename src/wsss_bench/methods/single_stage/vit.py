"""The ViT of the single-stage methods: class token, last patch tokens, and those of an earlier block.

Ru et al., "Token Contrast for Weakly-Supervised Semantic Segmentation" (ToCo), CVPR 2023,
https://arxiv.org/abs/2303.01267, https://github.com/rulixiang/ToCo. The ViT (Dosovitskiy et al., ICLR 2021)
is timm's.

The image may have any size that divides into patches: the position embedding is resized to the grid of
patches (bicubic, align_corners=False, no antialiasing). It keeps its pretrained values and gets no gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.nn.timm_models import create_timm, family_of

FAMILIES = ("vision_transformer", "deit")


class Tokens(NamedTuple):
    """Tokens of a batch of images."""

    class_token: Tensor  # (B, D), after the final norm
    patches: Tensor  # (B, D, h, w), after the final norm
    auxiliary: Tensor  # (B, D, h, w), patch tokens of an earlier block, before any norm


class VisionTransformer(nn.Module):
    """timm ViT with a class token.

    Args:
        backbone: timm model name, or a recipe file (`create_timm`).
        weights: `imagenet`, a checkpoint path, or None for random weights.
        aux_layer: Index of the block that gives the auxiliary tokens; -3 is the tenth of twelve.

    Attributes:
        channels: Width `D` of the tokens.
        patch_size: Side of a patch in pixels.

    Raises:
        ValueError: not a plain ViT of timm with one class token, or it has no block `aux_layer`.
    """

    def __init__(
        self,
        backbone: str = "vit_base_patch16_224.orig_in21k_ft_in1k",
        weights: str | None = "imagenet",
        aux_layer: int = -3,
    ) -> None:
        super().__init__()
        if family_of(backbone) not in FAMILIES:
            raise ValueError(f"{backbone!r} is not one of timm's ViTs; choose e.g. vit_base_patch16_224")
        net: Any = create_timm(backbone, weights, dynamic_img_size=True)
        if net.cls_token is None or net.num_prefix_tokens != 1 or not isinstance(net.norm_pre, nn.Identity):
            raise ValueError(
                f"{backbone!r} is not a plain ViT with one class token; choose e.g. vit_base_patch16_224"
            )
        depth = len(net.blocks)
        if not -depth <= aux_layer < depth:
            raise ValueError(f"aux_layer {aux_layer} is not one of the {depth} blocks of {backbone!r}")
        self.patch_embed = net.patch_embed
        self.cls_token = net.cls_token  # (1, 1, D)
        self.pos_embed = net.pos_embed.requires_grad_(False)  # (1, 1 + patches, D)
        self.blocks = net.blocks
        self.norm = net.norm
        self.aux_layer = aux_layer % depth
        self.channels: int = net.embed_dim
        self.patch_size: int = net.patch_embed.patch_size[0]

    def forward(self, image: Tensor) -> Tokens:
        """`(B, 3, H, W)`, normalised -> tokens; `H` and `W` are multiples of the patch size.

        Raises:
            ValueError: a size that does not divide into patches.
        """
        height, width = image.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"an image of {height}x{width} pixels does not divide into patches of {self.patch_size}; "
                "make data.transform.crop_size and its product with each CAM scale multiples of the patch "
                f"size, and set inference.pad_to: {self.patch_size}"
            )
        grid = (height // self.patch_size, width // self.patch_size)
        patches = self.patch_embed(image).flatten(1, 2)  # (B, h * w, D)
        tokens = torch.cat([self.cls_token.expand(len(image), -1, -1), patches], dim=1)
        tokens = tokens + self._position_embedding(grid)
        auxiliary = tokens
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index == self.aux_layer:
                auxiliary = tokens
        tokens = self.norm(tokens)
        return Tokens(tokens[:, 0], to_map(tokens[:, 1:], grid), to_map(auxiliary[:, 1:], grid))

    def _position_embedding(self, grid: tuple[int, int]) -> Tensor:
        """`(1, 1 + h * w, D)` for a grid of `h` by `w` patches; the class token's entry is not resized."""
        of_class_token, of_patches = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        side = round(of_patches.shape[1] ** 0.5)
        if grid == (side, side):
            return self.pos_embed
        resized = F.interpolate(to_map(of_patches, (side, side)), grid, mode="bicubic", align_corners=False)
        return torch.cat([of_class_token, resized.flatten(2).transpose(1, 2)], dim=1)


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """`(B, h * w, D)` -> `(B, D, h, w)`."""
    return tokens.transpose(1, 2).unflatten(2, grid)
