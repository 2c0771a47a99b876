"""Co-attention between the feature maps of two images, and what is read off it.

Sun et al., "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation" (MCIS), ECCV 2020,
https://arxiv.org/abs/2007.01947, section 3.1; https://github.com/GuoleiSun/MCIS_wsss (commit 1fc8f75).

A bilinear affinity, neither scaled nor normalised, compares every place of one image with every place of the other. Each
image is then drawn anew from the features of the other alone: there is no residual and no projection of values. The drawing
must show the classes that the two have in common; blotted out of the image's own features, it must leave the others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST_AFFINITY = 2**26
"""Entries `B * HW_1 * HW_2` up to which the affinity is held in memory (256 MiB in float32, and as much for each softmax)."""


class CoAttention(nn.Module):
    """Affinity, mask and classifier, one of each for both images of a pair. No bias anywhere: nothing in, nothing out.

    Args:
        channels: Width C of the features.
        num_classes: Foreground classes K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.affinity = nn.Linear(channels, channels, bias=False)  # its weight is the transpose of W_P
        self.classifier = nn.Conv2d(channels, num_classes, 1, bias=False)
        self.mask = nn.Conv2d(channels, 1, 1, bias=False)  # w_B

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Each image drawn from the features of the other: `G_1` and `G_2`.

        With P = F_1^T W_P F_2, G_1 = F_2 softmax(P^T) lies on the grid of the first image and G_2 = F_1 softmax(P) on that of
        the second; each softmax runs over the places that are looked at.

        Computed in float32 at least, because dot products of hundreds of unscaled channels overflow half precision. Time is
        O(HW_1 HW_2 C). Memory is O(HW_1 HW_2) up to `LARGEST_AFFINITY` entries (P is computed once and serves both
        directions), and beyond that O(HW_1 + HW_2) where PyTorch has a fused kernel for it: blocks of P are computed when
        they are needed, in either direction and again in the backward pass.

        Args:
            first: `(B, C, H_1, W_1)` features F_1.
            second: `(B, C, H_2, W_2)` features F_2; may have another size.

        Returns:
            `(B, C, H_1, W_1)` and `(B, C, H_2, W_2)`.
        """
        precision = torch.promote_types(first.dtype, torch.float32)
        with torch.autocast(first.device.type, enabled=False):
            places_1, places_2 = (
                f.to(precision).flatten(2).transpose(1, 2) for f in (first, second)
            )  # (B, HW, C)
            query = self.affinity(places_1)  # F_1^T W_P
            if len(query) * places_1.shape[1] * places_2.shape[1] <= LARGEST_AFFINITY:
                affinity = query @ places_2.transpose(1, 2)  # P (B, HW_1, HW_2)
                drawn_1 = affinity.softmax(dim=2) @ places_2
                drawn_2 = affinity.transpose(1, 2).softmax(dim=2) @ places_1
            else:
                drawn_1, drawn_2 = _fused(query, places_2, places_2), _fused(places_2, query, places_1)
        return (
            drawn_1.transpose(1, 2).unflatten(2, first.shape[2:]),
            drawn_2.transpose(1, 2).unflatten(2, second.shape[2:]),
        )

    def common_maps(self, drawn: Tensor) -> Tensor:
        """`G` `(B, C, H, W)` -> `(B, K, H, W)` maps of the common classes; their spatial mean is the logit."""
        return self.classifier(drawn)

    def common_mask(self, drawn: Tensor) -> Tensor:
        """`G` `(B, C, H, W)` -> `B` `(B, 1, H, W)` in (0, 1): where the image shows what it has in common."""
        return self.mask(drawn).sigmoid()

    def contrast_maps(self, features: Tensor, drawn: Tensor) -> Tensor:
        """`F` and `G`, both `(B, C, H, W)`, of one image -> `(B, K, H, W)` maps of what is left of F outside `B`."""
        return self.classifier(features * (1 - self.common_mask(drawn)))


def _fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention without scale, all `(B, HW, C)`. Fused kernels want a dimension of heads, and contiguous channels."""
    query, key, value = (tensor.contiguous().unsqueeze(1) for tensor in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0).squeeze(1)
