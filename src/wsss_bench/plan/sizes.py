"""What stages take on the disk: bytes and files, estimated before anything ran.

The figures were measured on the mini world (96 x 96 pixels) and on VOC-sized images (500 x 375).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from wsss_bench.artifacts.layout import LAST, MASKS, PROBABILITIES, SEEDS
from wsss_bench.artifacts.metrics import CONFUSIONS
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


def stage_size(stage: Stage, images: int, pixels: float, without: Collection[str] = ()) -> Size:
    """What a complete stage takes.

    Args:
        stage: The stage.
        images: Number of images of its split; not used for trainings.
        pixels: Mean number of pixels of an image.
        without: Folders of the stage that are left out, such as those that a bench prunes.
    """
    parts = _parts(stage, images, pixels)
    found = Size(OTHER_BYTES, OTHER_FILES)
    for name, (size, files) in parts.items():
        if name not in without:
            found += Size(round(size), files)
    return found


def _parts(stage: Stage, images: int, pixels: float) -> Mapping[str, tuple[float, int]]:
    """Bytes and number of files of the folders of a stage, or of its checkpoint or scores."""
    shards, masks = images // IMAGES_PER_SHARD, _mask_bytes(pixels)
    if stage.kind in ("train", "segment", "affinity"):
        return {str(LAST): (_checkpoint_bytes(stage), 0)}
    if stage.kind == "seed":
        return {SEEDS: (images * seed_bytes(pixels, CLASSES_PER_IMAGE), shards)}
    if stage.kind == "evaluate":
        return {CONFUSIONS: (images * CONFUSION_BYTES * MOST_READOUTS, 0)}
    if stage.kind == "predict":
        count, maps = _predicted(stage.config)
        probabilities = (images * probability_bytes(pixels, maps), shards if maps else 0)
        return {MASKS: (images * count * masks, images * count), PROBABILITIES: probabilities}
    count = {"refine": 1, "crf": _with_crf(stage.config)}[stage.kind]
    return {MASKS: (images * count * masks, images * count)}


def _predicted(config: Mapping[str, Any]) -> tuple[int, int]:
    """Number of masks without CRF of an image, and of maps of probabilities that CRFs take."""
    published = [bool(readout.get("crf")) for readout in (config.get("readouts") or {}).values()]
    scales = 1 + bool(config.get("scales", True))
    maps = ALL_LABELS * published.count(True) + (LABELS_PER_MASK * scales if config.get("crf") else 0)
    return scales + published.count(False), maps


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
