"""Saliency maps of the mini world: what a network for salient objects might say.

Such networks know objects but no classes, see some objects not at all, and are unsure at outlines. Here every object is
overlooked with probability `OVERLOOKED`, the rest is blurred. They are made of the masks, as the networks behind the maps of
MCIS and OAA were trained on masks: rows made with them say `saliency`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsss_bench.mini.world.samples import Sample

OVERLOOKED = 0.1
BLUR = 2.0  # standard deviation in pixels


def saliency_map(sample: Sample, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(96, 96) saliency of an image, 0..255; `rng` says which objects are overlooked."""
    seen = np.concatenate([[False], rng.random(len(sample.objects)) >= OVERLOOKED])
    foreground = seen[sample.rendering.instance].astype(np.float32)
    return (255 * gaussian_filter(foreground, BLUR) + 0.5).astype(np.uint8)
