"""Similarities of object and background regions to text prompts, computed by a frozen CLIP.

Xie et al., "CLIMS: Cross Language Image Matching for Weakly Supervised Semantic Segmentation", CVPR 2022,
https://arxiv.org/abs/2203.02668, section 3.2. Both versions of CLIMS compute their text-based losses from
these similarities.

Prompts are encoded once, then the text encoder is deleted. Object and background regions go through CLIP's
image encoder in one batch, and one embedding of the object region serves both OTM and CBS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.clims.frozen_clip import FrozenCLIP
from wsss_bench.nn.class_prompts import require_distinct_texts
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.frozen import Frozen


class Similarities(NamedTuple):
    """Cosines of `M` positive (image, class) pairs, ordered by image, then by class.

    Superscripts as in the paper: the first letter is the region, the second the text (o: object, b:
    background).
    """

    label: Tensor  # (M,) class index of each pair
    s_oo: Tensor  # (M,) object region and class prompt
    s_bo: Tensor  # (M,) background region and class prompt
    s_ob: Tensor  # (M, J) object region and each background prompt


class TextMatcher(nn.Module):
    """CLIP similarities of the object and background regions of class maps to text prompts.

    Args:
        clip: Receives no gradient and is not saved in checkpoints. Its text encoder is deleted.
        class_prompts: `C` prompts, in label order.
        background_prompts: `J` prompts.
    """

    class_text: Tensor  # (C, D) unit text embeddings
    background_text: Tensor  # (J, D) unit text embeddings

    def __init__(self, clip: CLIP, class_prompts: Sequence[str], background_prompts: Sequence[str]) -> None:
        super().__init__()
        require_distinct_texts(clip, class_prompts)
        self.frozen = Frozen(clip)
        with torch.no_grad():
            self.register_buffer("class_text", clip.encode_text(class_prompts), persistent=False)
            self.register_buffer("background_text", clip.encode_text(background_prompts), persistent=False)
        del clip.model.text_model, clip.model.text_projection

    @property
    def clip(self) -> CLIP:
        """The frozen CLIP, image encoder only."""
        return self.frozen.network

    def forward(self, activation: Tensor, image: Tensor, labels: Tensor, num_pairs: int) -> Similarities:
        """Compute the similarities of one batch.

        Args:
            activation: `(B, C, h, w)` class maps in (0, 1); gradients flow back into them.
            image: `(B, 3, H, W)`, normalised, 0 on padding. Masked-out pixels become 0 too.
            labels: `(B, C)` multi-hot.
            num_pairs: Number `M` of labels of all images together.
        """
        # a stable sort puts the labels in front, in their order; `nonzero` would wait for the device
        pair = (labels.flatten() > 0).byte().argsort(descending=True, stable=True)[:num_pairs]
        image_index, label = pair // labels.shape[1], pair % labels.shape[1]  # (M,), (M,)
        regions = object_and_background_regions(
            activation[image_index, label], image, image_index, self.clip.image_size
        )
        objects, backgrounds = self._encode(regions).chunk(2)  # (M, D) each
        class_text = self.class_text[label]
        return Similarities(
            label,
            (objects * class_text).sum(dim=1),
            (backgrounds * class_text).sum(dim=1),
            (objects[:, None] * self.background_text).sum(dim=2),
        )

    def _encode(self, image: Tensor) -> Tensor:
        """`(N, 3, S, S)` -> `(N, D)`."""
        # without labels in the batch there are no regions, and attention fails on an empty batch
        if len(image) == 0:
            return image.sum() * self.class_text[:0]
        return self.clip.encode_image(image)


def object_and_background_regions(
    activation: Tensor, image: Tensor, image_index: Tensor, size: int
) -> Tensor:
    """Images masked by class maps (object regions) and by their complements (background regions).

    Args:
        activation: `(M, h, w)` class maps in (0, 1).
        image: `(B, 3, H, W)`, normalised.
        image_index: `(M,)` index of the image of each map.
        size: Side `S` of the result. Maps and images are resized separately, bilinearly with aligned corners.

    Returns:
        `(2 * M, 3, S, S)`: object regions, then background regions.
    """
    # (M, 1, S, S) and (M, 3, S, S)
    maps = F.interpolate(activation[:, None], (size, size), mode="bilinear", align_corners=True)
    pixels = F.interpolate(image, (size, size), mode="bilinear", align_corners=True)[image_index]
    return torch.cat([maps * pixels, (1 - maps) * pixels])


def load_clip(name: str) -> FrozenCLIP:
    """Load a CLIP by the name given in a config.

    Raises:
        FileNotFoundError: the model is neither on disk nor available from the hub.
    """
    try:
        return FrozenCLIP(name)
    except OSError as error:
        raise FileNotFoundError(
            f"model.init_args.clip: no CLIP {name!r} on this machine, and the hub did not provide it; set "
            "it to a folder written by save_pretrained, to package:mini/clip, or download it once "
            f"({str(error).splitlines()[0]})"
        ) from error
