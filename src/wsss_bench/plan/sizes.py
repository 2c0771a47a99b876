"""What stages take on the disk: bytes and files, estimated before anything ran.

The figures were measured on the mini world (96 x 96 pixels) and on VOC-sized images (500 x 375).
"""

from __future__ import annotations

import json
from typing import NamedTuple

from wsss_bench.artifacts.layout import ASSET_PREFIX, READOUTS
from wsss_bench.plan.plan import Stage

SEED_BYTES_PER_PIXEL = 3.2
"""Score maps of one image, of 1.5 classes on average, float16 at full size, compressed."""
MASK_BYTES_PER_SIDE = 12.0
"""A mask as PNG grows with the length of its outlines: with the square root of the number of pixels."""
CONFUSION_BYTES = 100
"""Pixel counts of one image and read-out in `confusions.npz`."""
CHECKPOINT_BYTES = 500_000_000
"""A ResNet-101 with momentum (0.35 GB), a ViT-B with the two moments of AdamW (1 GB)."""
SHIPPED_CHECKPOINT_BYTES = 10_000_000
"""Networks whose weights ship with the package are small."""
OTHER_FILES = 30
"""Manifest, plan, log, W&B and the like, of each stage."""
OTHER_BYTES = 500_000


class Size(NamedTuple):
    """What something takes on the disk."""

    bytes: int
    files: int

    def __add__(self, other: tuple[int, ...]) -> Size:  # type: ignore[override]
        return Size(self.bytes + other[0], self.files + other[1])


def stage_size(stage: Stage, images: int, pixels: float) -> Size:
    """What a complete stage takes.

    Args:
        stage: The stage.
        images: Number of images of its split; not used for trainings.
        pixels: Mean number of pixels of an image.
    """
    mask = MASK_BYTES_PER_SIDE * pixels**0.5
    readouts = len(READOUTS) + len(stage.config.get("readouts") or {})
    shipped = f'"{ASSET_PREFIX}' in json.dumps(stage.config.get("model"))
    training = (SHIPPED_CHECKPOINT_BYTES if shipped else CHECKPOINT_BYTES, 0)
    found, files = {
        "train": training,
        "affinity": training,
        "segment": training,
        "seed": (images * SEED_BYTES_PER_PIXEL * pixels, images),
        "refine": (images * mask, images),
        "predict": (images * mask * readouts, images * readouts),
        "evaluate": (images * CONFUSION_BYTES * readouts, 0),
    }[stage.kind]
    return Size(round(found) + OTHER_BYTES, files + OTHER_FILES)
