"""Saliency maps of the mini world's training images: `<root>/saliency/<id>.png`, what a network for salient objects might say.

Such networks know objects but no classes, see some objects not at all, and are unsure at outlines. Here every object is
overlooked with probability `OVERLOOKED`, the rest is blurred. They are made of the masks, as the networks behind the maps of
MCIS and OAA were trained on masks: rows made with them say `saliency`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from .grammar import Stream, image_rng
from .samples import make_sample

OVERLOOKED = 0.1
BLUR = 2.0  # standard deviation in pixels


def saliency_map(seed: int, index: int) -> NDArray[np.uint8]:
    """(96, 96) saliency of the index-th training image, 0..255."""
    sample = make_sample(seed, Stream.TRAIN, index)
    rng = image_rng(seed, Stream.SALIENCY, index)
    seen = np.concatenate([[False], rng.random(len(sample.objects)) >= OVERLOOKED])
    foreground = seen[sample.rendering.instance].astype(np.float32)
    return (255 * gaussian_filter(foreground, BLUR) + 0.5).astype(np.uint8)


def write_saliency_map(folder: str, seed: int, index: int) -> None:
    """Write `saliency_map` as `train_<index>.png`."""
    Image.fromarray(saliency_map(seed, index)).save(f"{folder}/train_{index:06d}.png")
