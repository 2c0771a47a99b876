"""A frozen CLIP that judges masked images by sentences: the shared part of both versions of CLIMS.

Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic Segmentation", CVPR 2022,
https://arxiv.org/abs/2203.02668, section 3.2.

Sentences are encoded once, and the text tower is let go. The images of objects and of backgrounds go through CLIP in one
batch, and the embedding of an object serves both terms that ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.frozen import Frozen
from wsss_bench.nn.frozen_clip import FrozenCLIP


class Similarities(NamedTuple):
    """Cosines of `M` positive pairs (image, class), in the order of the images and then of the classes."""

    label: Tensor  # (M,) class index of a pair
    object_text: Tensor  # (M,) object image and own class
    background_text: Tensor  # (M,) background image and own class
    object_background: Tensor  # (M, J) object image and each background sentence


class TextMatcher(nn.Module):
    """Compares what a map keeps of an image, and what it leaves, with sentences.

    Args:
        clip: Gets no gradient and enters no checkpoint; loses its text tower.
        class_sentences: `C`, in label order.
        background_sentences: `J`.
    """

    class_text: Tensor  # (C, D)
    background_text: Tensor  # (J, D)

    def __init__(
        self, clip: CLIP, class_sentences: Sequence[str], background_sentences: Sequence[str]
    ) -> None:
        super().__init__()
        self.frozen = Frozen(clip)
        with torch.no_grad():
            self.register_buffer("class_text", clip.encode_text(class_sentences), persistent=False)
            self.register_buffer("background_text", clip.encode_text(background_sentences), persistent=False)
        del clip.model.text_model, clip.model.text_projection

    @property
    def clip(self) -> CLIP:
        """The frozen CLIP, image tower only."""
        return self.frozen.network

    def forward(self, activation: Tensor, image: Tensor, labels: Tensor) -> Similarities:
        """Judge one batch.

        Args:
            activation: `(B, C, h, w)` in (0, 1); gradients flow back into it.
            image: `(B, 3, H, W)`, normalised, 0 on padding; a masked-out pixel is 0 too.
            labels: `(B, C)` multi-hot.
        """
        which, label = labels.nonzero(as_tuple=True)  # (M,), (M,)
        seen = masked_images(activation[which, label], image, which, self.clip.image_size)
        kept, left = self._encode(seen).chunk(2)  # (M, D) each
        own = self.class_text[label]
        return Similarities(
            label,
            (kept * own).sum(dim=1),
            (left * own).sum(dim=1),
            (kept[:, None] * self.background_text).sum(dim=2),
        )

    def _encode(self, image: Tensor) -> Tensor:
        """`(N, 3, S, S)` -> `(N, D)`."""
        if len(image) == 0:  # no image of the batch has a label, and attention cannot run over nothing
            return image.sum() * self.class_text[:0]
        return self.clip.encode_image(image)


def masked_images(activation: Tensor, image: Tensor, which: Tensor, size: int) -> Tensor:
    """Images times maps, then images times what the maps leave.

    Args:
        activation: `(M, h, w)` in (0, 1).
        image: `(B, 3, H, W)`, normalised.
        which: `(M,)` image of each map.
        size: Side `S` of the result. Maps and images are resized apart, bilinearly with aligned corners.

    Returns:
        `(2 * M, 3, S, S)`: objects, then backgrounds.
    """
    maps = F.interpolate(
        activation[:, None], (size, size), mode="bilinear", align_corners=True
    )  # (M, 1, S, S)
    pixels = F.interpolate(image, (size, size), mode="bilinear", align_corners=True)[which]  # (M, 3, S, S)
    return torch.cat([maps * pixels, (1 - maps) * pixels])


def load_clip(name: str) -> FrozenCLIP:
    """A CLIP by the name that a config gives.

    Raises:
        FileNotFoundError: neither on disk nor to be had from the hub.
    """
    try:
        return FrozenCLIP(name)
    except OSError as error:
        raise FileNotFoundError(
            f"model.init_args.clip: no CLIP {name!r} on this machine, and the hub did not give it; set it to a folder "
            f"written by save_pretrained, to package:mini/clip, or download it once ({str(error).splitlines()[0]})"
        ) from error
