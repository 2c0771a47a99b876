"""Co-attention between the feature maps of two images, and the class maps computed from it.

Sun et al., "Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation" (MCIS), ECCV 2020,
https://arxiv.org/abs/2007.01947, section 3.1; https://github.com/GuoleiSun/MCIS_wsss (commit 1fc8f75).

A bilinear affinity, neither scaled nor normalised, compares every position of one image with every position
of the other. Co-attention then rebuilds the feature map of each image from the features of its partner only:
there is no residual and no value projection. These attended features are classified as the common classes of
the pair. Contrastive co-attention masks the common objects out of the image's own features, which are then
classified as the unshared classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST_AFFINITY = 2**26
"""Largest number of entries `B * HW_1 * HW_2` for which the affinity matrix is stored.

This is 256 MiB in float32, and as much for each of the two softmaxes.
"""


class CoAttention(nn.Module):
    """Affinity, mask and classifier, shared by the two images of a pair.

    No layer has a bias: zero features give zero attended features and zero class maps.

    Args:
        channels: Number of feature channels C.
        num_classes: Number of foreground classes K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.affinity = nn.Linear(channels, channels, bias=False)  # its weight is the transpose of W_P
        self.classifier = nn.Conv2d(channels, num_classes, 1, bias=False)
        self.mask = nn.Conv2d(channels, 1, 1, bias=False)  # w_B

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Attended features `G_1` and `G_2` of both images.

        With the affinity P = F_1^T W_P F_2, G_1 = F_2 softmax(P^T) lies on the grid of the first image and
        G_2 = F_1 softmax(P) on the grid of the second. Each softmax runs over the positions of the attended
        image, the partner.

        Computed at least in float32, because unscaled dot products over hundreds of channels overflow half
        precision. Time is O(HW_1 HW_2 C). Up to `LARGEST_AFFINITY` entries, memory is O(HW_1 HW_2), and P is
        computed once for both directions. Beyond that, memory is O(HW_1 + HW_2) where PyTorch has a fused
        attention kernel, which recomputes blocks of P for each direction and in the backward pass.

        Args:
            first: `(B, C, H_1, W_1)` features F_1.
            second: `(B, C, H_2, W_2)` features F_2; may have another size.

        Returns:
            `(B, C, H_1, W_1)` and `(B, C, H_2, W_2)`.
        """
        precision = torch.promote_types(first.dtype, torch.float32)
        with torch.autocast(first.device.type, enabled=False):
            # (B, HW, C) each
            positions_1, positions_2 = (f.to(precision).flatten(2).transpose(1, 2) for f in (first, second))
            query = self.affinity(positions_1)  # F_1^T W_P
            if len(query) * positions_1.shape[1] * positions_2.shape[1] <= LARGEST_AFFINITY:
                affinity = query @ positions_2.transpose(1, 2)  # P (B, HW_1, HW_2)
                attended_1 = affinity.softmax(dim=2) @ positions_2
                attended_2 = affinity.transpose(1, 2).softmax(dim=2) @ positions_1
            else:
                attended_1 = _fused_attention(query, positions_2, positions_2)
                attended_2 = _fused_attention(positions_2, query, positions_1)
        return (
            attended_1.transpose(1, 2).unflatten(2, first.shape[2:]),
            attended_2.transpose(1, 2).unflatten(2, second.shape[2:]),
        )

    def common_class_maps(self, attended: Tensor) -> Tensor:
        """`G` `(B, C, H, W)` -> `(B, K, H, W)` maps of the common classes; their spatial mean is a logit."""
        return self.classifier(attended)

    def common_object_mask(self, attended: Tensor) -> Tensor:
        """`G` `(B, C, H, W)` -> `B` `(B, 1, H, W)` in (0, 1), a class-agnostic mask of common objects."""
        return self.mask(attended).sigmoid()

    def unshared_class_maps(self, features: Tensor, attended: Tensor) -> Tensor:
        """Contrastive co-attention: class maps of the image features outside the mask of the common objects.

        Args:
            features: `(B, C, H, W)` features F of an image.
            attended: `(B, C, H, W)` its attended features G.

        Returns:
            `(B, K, H, W)` maps of the unshared classes, computed from F * (1 - B).
        """
        return self.classifier(features * (1 - self.common_object_mask(attended)))


def _fused_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention without scaling, all tensors `(B, HW, C)`."""
    # fused kernels need a head dimension and contiguous channels
    query, key, value = (tensor.contiguous().unsqueeze(1) for tensor in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0).squeeze(1)
