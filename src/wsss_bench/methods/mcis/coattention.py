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

from wsss_bench.nn.precision import at_least_float32

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
        with torch.autocast(first.device.type, enabled=False):
            positions_1, positions_2 = _positions(first), _positions(second)
            if not _is_small(positions_1, positions_2):
                return self.of_first(first, second), self.of_second(first, second)
            affinity = self.affinity(positions_1) @ positions_2.transpose(1, 2)  # P (B, HW_1, HW_2)
            attended_1 = affinity.softmax(dim=2) @ positions_2
            attended_2 = affinity.transpose(1, 2).softmax(dim=2) @ positions_1
        return _maps(attended_1, first), _maps(attended_2, second)

    def means(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Spatial means of `G_1` and `G_2` of `forward`, without the attended features themselves.

        The mean of G_1 = F_2 softmax(P^T) over its positions is F_2 times the mean attention that each
        position of the partner gets. This saves the two matrix products of G_1 and G_2, and four in the
        backward pass.

        Args:
            first: `(B, C, H_1, W_1)` features F_1.
            second: `(B, C, H_2, W_2)` features F_2; may have another size.

        Returns:
            Twice `(B, C, 1, 1)`.
        """
        with torch.autocast(first.device.type, enabled=False):
            positions_1, positions_2 = _positions(first), _positions(second)
            if not _is_small(positions_1, positions_2):
                attended = (self.of_first(first, second), self.of_second(first, second))
                mean_1, mean_2 = (features.mean(dim=(2, 3), keepdim=True) for features in attended)
                return mean_1, mean_2
            affinity = self.affinity(positions_1) @ positions_2.transpose(1, 2)  # P (B, HW_1, HW_2)
            received_2 = affinity.softmax(dim=2).mean(dim=1, keepdim=True)  # (B, 1, HW_2)
            received_1 = affinity.softmax(dim=1).mean(dim=2).unsqueeze(1)  # (B, 1, HW_1)
            mean_1, mean_2 = received_2 @ positions_2, received_1 @ positions_1  # (B, 1, C)
        return mean_1.transpose(1, 2).unsqueeze(3), mean_2.transpose(1, 2).unsqueeze(3)

    def of_first(self, first: Tensor, second: Tensor) -> Tensor:
        """`G_1` of `forward` alone, in half the time."""
        with torch.autocast(first.device.type, enabled=False):
            positions = _positions(second)
            query = self.affinity(_positions(first))  # F_1^T W_P
            attended = _attention(query, positions, positions)
        return _maps(attended, first)

    def of_second(self, first: Tensor, second: Tensor) -> Tensor:
        """`G_2` of `forward` alone, in half the time."""
        with torch.autocast(first.device.type, enabled=False):
            positions = _positions(first)
            attended = _attention(_positions(second), self.affinity(positions), positions)
        return _maps(attended, second)

    def common_class_maps(self, attended: Tensor) -> Tensor:
        """`G` `(B, C, H, W)` -> `(B, K, H, W)` maps of the common classes; their spatial mean is a logit."""
        return self.classifier(attended)

    def class_maps_of_first(self, first: Tensor, second: Tensor) -> Tensor:
        """`common_class_maps` of `G_1`, `(B, K, H_1, W_1)`, in less time.

        Both steps are linear, so that the partner is classified before it is attended to: K is below C.
        """
        if not _is_small(_positions(first), _positions(second)):
            return self.common_class_maps(self.of_first(first, second))  # fused kernels need K = C
        with torch.autocast(first.device.type, enabled=False):
            query = self.affinity(_positions(first))
            key = _positions(second)
            attended = _attention(query, key, self._classified(second))
        return _maps(attended, first)

    def class_maps_of_second(self, first: Tensor, second: Tensor) -> Tensor:
        """`common_class_maps` of `G_2`, `(B, K, H_2, W_2)`, as `class_maps_of_first`."""
        if not _is_small(_positions(first), _positions(second)):
            return self.common_class_maps(self.of_second(first, second))
        with torch.autocast(first.device.type, enabled=False):
            key = self.affinity(_positions(first))
            attended = _attention(_positions(second), key, self._classified(first))
        return _maps(attended, second)

    def _classified(self, features: Tensor) -> Tensor:
        """Class maps `(B, HW, K)` of features `(B, C, H, W)`, at least in float32."""
        return _positions(self.classifier(at_least_float32(features)))

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


def _positions(features: Tensor) -> Tensor:
    """`(B, C, H, W)` -> `(B, HW, C)`, at least in float32."""
    return at_least_float32(features).flatten(2).transpose(1, 2)


def _maps(positions: Tensor, like: Tensor) -> Tensor:
    """`(B, HW, C)` -> `(B, C, H, W)` on the grid of `like`."""
    return positions.transpose(1, 2).unflatten(2, like.shape[2:])


def _is_small(query: Tensor, key: Tensor) -> bool:
    """Whether the affinities of `(B, HW, C)` tensors are stored."""
    return len(query) * query.shape[1] * key.shape[1] <= LARGEST_AFFINITY


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention without scaling, all tensors `(B, HW, C)`."""
    if _is_small(query, key):
        return (query @ key.transpose(1, 2)).softmax(dim=2) @ value
    return _fused_attention(query, key, value)


def _fused_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention without scaling, all tensors `(B, HW, C)`."""
    # fused kernels need a head dimension and contiguous channels
    query, key, value = (tensor.contiguous().unsqueeze(1) for tensor in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0).squeeze(1)
