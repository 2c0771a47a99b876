"""What stages take on the disk: bytes and files, estimated before anything ran.

The figures were measured on the mini world (96 x 96 pixels) and on VOC-sized images (500 x 375).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from wsss_bench.artifacts.probabilities import probability_bytes
from wsss_bench.artifacts.seeds import seed_bytes
from wsss_bench.plan.costs.model import state_bytes
from wsss_bench.plan.costs.networks import network_of
from wsss_bench.plan.plan import Stage

CLASSES_PER_IMAGE = 1.5
"""As on VOC; an image of COCO has 2.9."""
LABELS_PER_MASK = 4
"""With background, and with labels that are predicted by mistake."""
ALL_LABELS = 10
"""As many maps of present labels take as much as those of all labels, which are mostly near 0."""
MOST_READOUTS = 4
"""Of a segmentation; seeds have three threshold rules."""
IMAGES_PER_SHARD = 500
"""Seeds that fill a shard, at the least."""
MASK_BYTES_PER_SIDE = 12.0
"""A mask as PNG grows with the length of its outlines: with the square root of the number of pixels."""
CONFUSION_BYTES = 100
"""Pixel counts of one image and read-out in `confusions.npz`."""
CHECKPOINT_BYTES = 500_000_000
"""Of a network that was not measured: a ResNet-101 with momentum has 0.35 GB, a ViT-B with AdamW 1 GB."""
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
    mask, with_crf = _mask_bytes(pixels), _with_crf(stage.config)
    training = (_checkpoint_bytes(stage), 0)
    found, files = {
        "train": training,
        "affinity": training,
        "segment": training,
        "seed": (images * seed_bytes(pixels, CLASSES_PER_IMAGE), images // IMAGES_PER_SHARD),
        "refine": (images * mask, images),
        "predict": _prediction(stage.config, images, pixels),
        "crf": (images * mask * with_crf, images * with_crf),
        "evaluate": (images * CONFUSION_BYTES * MOST_READOUTS, 0),
    }[stage.kind]
    return Size(round(found) + OTHER_BYTES, files + OTHER_FILES)


def _prediction(config: Mapping[str, Any], images: int, pixels: float) -> tuple[float, int]:
    """Masks without CRF, and the probabilities that CRFs take."""
    published = [bool(readout.get("crf")) for readout in (config.get("readouts") or {}).values()]
    scales = 1 + bool(config.get("scales", True))
    masks, maps = scales + published.count(False), ALL_LABELS * published.count(True)
    if config.get("crf"):
        maps += LABELS_PER_MASK * scales
    size = masks * _mask_bytes(pixels) + probability_bytes(pixels, maps)
    return images * size, images * masks + (images // IMAGES_PER_SHARD if maps else 0)


def _with_crf(config: Mapping[str, Any]) -> int:
    """Number of read-outs of a crf stage, if there are multi-scale masks."""
    return 2 * (config.get("crf", True) is not None) + len(config.get("readouts") or {})


def _mask_bytes(pixels: float) -> float:
    return MASK_BYTES_PER_SIDE * math.sqrt(pixels)


def _checkpoint_bytes(stage: Stage) -> int:
    """Parameters, and what the optimiser keeps of those that are trained."""
    network = network_of(stage.config.get("model") or {})
    if network is None:
        return CHECKPOINT_BYTES
    return 4 * network.parameters + state_bytes(stage.config) * network.trained
