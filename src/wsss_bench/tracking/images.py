"""Images with the masks of truth and prediction, which W&B lays over them with the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

LONGEST_SIDE = 512
"""Pixels of the longer side of an image. Larger ones are reduced: encoding them takes longer than scoring."""
IGNORED = 255
"""Mask value of pixels that do not count."""


class Example(NamedTuple):
    """An image with its truth and the prediction that is scored."""

    image_id: str
    image: np.ndarray  # (H, W, 3) uint8
    truth: np.ndarray  # (H, W) uint8
    prediction: np.ndarray  # (H, W) uint8


def masked_images(examples: Sequence[Example], class_names: Sequence[str]) -> list[Any]:
    """The images as W&B shows them; the caption is the image id.

    Args:
        examples: Images.
        class_names: Foreground classes.
    """
    import wandb

    names = dict(enumerate(("background", *class_names))) | {IGNORED: "ignored"}
    return [
        wandb.Image(
            _reduced(example.image, Image.Resampling.BILINEAR),
            caption=example.image_id,
            masks={
                name: {
                    "mask_data": np.asarray(_reduced(mask, Image.Resampling.NEAREST)),
                    "class_labels": names,
                }
                for name, mask in (("truth", example.truth), ("prediction", example.prediction))
            },
            file_type="jpg",
        )
        for example in examples
    ]


def _reduced(pixels: np.ndarray, resampling: Image.Resampling) -> Image.Image:
    image = Image.fromarray(pixels)
    scale = LONGEST_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, resampling, reducing_gap=2.0)
