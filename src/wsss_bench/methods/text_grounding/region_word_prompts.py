"""CoDe's region and word prompts: learned values outside an image segment or a word segment.

Wu et al., CVPR 2024, https://arxiv.org/abs/2404.04231. The frozen CLIP encoders then embed one region or one
noun of a caption, and still receive a whole image or a whole sentence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RegionPrompt(nn.Module):
    """Learned image that replaces the pixels outside a mask.

    Args:
        size: Side of the learned image; it is resized where the input has another size.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        # zeros in normalised pixels: the mean colour
        self.picture = nn.Parameter(torch.zeros(1, 3, size, size))

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Normalised images `(P, 3, H, W)` and masks `(P, 1, h, w)` -> highlighted images `(P, 3, H, W)`."""
        size = image.shape[-2:]
        picture: Tensor = self.picture
        if picture.shape[-2:] != size:
            picture = F.interpolate(picture, size, mode="bilinear", align_corners=False)
        return blend(image, enlarge_mask(mask, image), picture)


class WordPrompt(nn.Module):
    """Learned token embeddings that replace the words outside a text mask, one vector per position.

    Args:
        length: Longest sentence in tokens.
        width: Width of a token embedding.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.zeros(length, width))

    def forward(self, embedded: Tensor, mask: Tensor, eos: Tensor) -> Tensor:
        """Highlighted captions.

        Args:
            embedded: `(P, L, width)` token embeddings, before positions are added.
            mask: `(P, L)` in [0, 1].
            eos: `(P,)` positions of the EOS tokens.

        Returns:
            `(P, L, width)`.
        """
        return blend(embedded, keep_special_tokens(mask, eos)[..., None], self.words[: embedded.shape[1]])


def blend(inside: Tensor, mask: Tensor, prompt: Tensor) -> Tensor:
    """`mask * inside + (1 - mask) * prompt`."""
    return mask * inside + (1 - mask) * prompt


def enlarge_mask(mask: Tensor, image: Tensor) -> Tensor:
    """`(P, 1, h, w)` -> `(P, 1, H, W)`, nearest neighbour, so that a binary mask stays binary."""
    return F.interpolate(mask, image.shape[-2:], mode="nearest")


def keep_special_tokens(mask: Tensor, eos: Tensor) -> Tensor:
    """Text masks `(P, L)` with 1 at the start token, at EOS `(P,)` and after it: these are never replaced."""
    position = torch.arange(mask.shape[1], device=mask.device)
    return torch.where((position == 0) | (position >= eos[:, None]), 1.0, mask)
