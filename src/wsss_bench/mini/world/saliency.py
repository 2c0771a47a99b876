"""Saliency maps of the mini world, a stand-in for the output of a salient object network.

Such networks detect objects without their classes, miss some objects completely, and are unsure at outlines.
Here every object is missed with probability `MISS_PROBABILITY`, and the rest is blurred. The maps are made
from the masks, just as the networks behind the saliency maps of MCIS and OAA were trained on masks. Therefore
rows that use them carry the hint `saliency`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsss_bench.mini.world.samples import Sample

MISS_PROBABILITY = 0.1
BLUR = 2.0  # standard deviation in pixels


def saliency_map(sample: Sample, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(96, 96) saliency of an image, 0..255; `rng` decides which objects are missed."""
    found = np.concatenate([[False], rng.random(len(sample.objects)) >= MISS_PROBABILITY])
    foreground = found[sample.rendering.instance].astype(np.float32)
    return (255 * gaussian_filter(foreground, BLUR) + 0.5).astype(np.uint8)
