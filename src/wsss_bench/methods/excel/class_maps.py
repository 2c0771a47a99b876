"""Class maps of ExCEL: how similar each patch is to each class, apart from what it shares with all texts.

ExCEL (CVPR 2025) after CLIP Surgery (Li et al., https://arxiv.org/abs/2304.05653), as in the authors' code,
`clip/clip.py: clip_feature_surgery`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.nn.precision import in_float32

SHARPNESS = 2.0
"""Factor of the cosines in the softmax over texts at the class token."""


@in_float32
def patch_text_maps(tokens: Tensor, texts: Tensor) -> Tensor:
    """Similarity of tokens and texts, each text from 0 to 1 over the tokens of an image.

    The features of an image have unit length along its tokens (not along channels). Texts are weighed by
    their probability at the class token, and the mean over texts is subtracted: a background text acts
    through both only. The product of tokens, texts and channels that the published code makes is not needed.

    Args:
        tokens: `(B, 1 + n, D)` projected tokens of any length, class token first.
        texts: `(T, D)` unit vectors.

    Returns:
        `(B, 1 + n, T)` float32 in [0, 1]; 0 where a text is equally similar to all tokens.
    """
    similarity = F.normalize(tokens, dim=1) @ texts.T.float()  # (B, 1 + n, T)
    probability = (SHARPNESS * similarity[:, :1]).softmax(dim=2)
    weighed = similarity * (probability / probability.mean(dim=2, keepdim=True))
    maps = weighed - weighed.mean(dim=2, keepdim=True)
    maps = maps - maps.amin(dim=1, keepdim=True)
    return maps / maps.amax(dim=1, keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def class_maps(tokens: Tensor, texts: Tensor, num_classes: int, grid: tuple[int, int]) -> Tensor:
    """Maps `(B, C, h, w)` in [0, 1] of the first `num_classes` texts, without the class token."""
    maps = patch_text_maps(tokens, texts)[:, 1:, :num_classes]
    return maps.mT.unflatten(2, grid)


def merge_mirrored(maps: Tensor) -> Tensor:
    """Maps `(2 B, C, h, w)` of images and then of their mirror images -> `(B, C, h, w)` in [0, 1).

    The maximum of both, minus its minimum, divided by its maximum plus 1e-5.
    """
    image, mirrored = maps.chunk(2)
    maps = torch.maximum(image, mirrored.flip(-1))
    maps = maps - maps.amin(dim=(2, 3), keepdim=True)
    return maps / (maps.amax(dim=(2, 3), keepdim=True) + 1e-5)
