"""CoDe's highlighting: what a mask leaves out of an image or a caption is replaced by a learned prompt.

Wu et al., CVPR 2024, https://arxiv.org/abs/2404.04231. The frozen CLIP then reads a picture of one region and a sentence about
one noun, in the form it knows: a whole image, a whole caption.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RegionPrompt(nn.Module):
    """Stands in for pixels outside a mask.

    Args:
        size: Side of the learned picture; it is resized to the image where that differs.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.zeros(1, 3, size, size))  # normalised: 0 is the mean colour

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Normalised images `(P, 3, H, W)` and masks `(P, 1, h, w)` -> `(P, 3, H, W)`."""
        size = image.shape[-2:]
        picture: Tensor = self.picture
        if picture.shape[-2:] != size:
            picture = F.interpolate(picture, size, mode="bilinear", align_corners=False)
        return blend(image, enlarge_mask(mask, image), picture)


class WordPrompt(nn.Module):
    """Stands in for words outside a word mask, one vector for each place of a sentence.

    Args:
        length: Longest sentence in tokens.
        width: Of a word embedding.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.zeros(length, width))

    def forward(self, embedded: Tensor, mask: Tensor, end: Tensor) -> Tensor:
        """Word embeddings `(P, L, width)`, masks `(P, L)` and places `(P,)` of the ends -> `(P, L, width)`."""
        return blend(embedded, keep_frame(mask, end)[..., None], self.words[: embedded.shape[1]])


def blend(kept: Tensor, mask: Tensor, prompt: Tensor) -> Tensor:
    """`mask * kept + (1 - mask) * prompt`."""
    return mask * kept + (1 - mask) * prompt


def enlarge_mask(mask: Tensor, image: Tensor) -> Tensor:
    """`(P, 1, h, w)` -> `(P, 1, H, W)`, nearest: a mask of zeros and ones stays one."""
    return F.interpolate(mask, image.shape[-2:], mode="nearest")


def keep_frame(mask: Tensor, end: Tensor) -> Tensor:
    """Word masks `(P, L)` with 1 at the start token, at the end token and after it: the prompt never replaces those."""
    place = torch.arange(mask.shape[1], device=mask.device)
    return torch.where((place == 0) | (place >= end[:, None]), 1.0, mask)
