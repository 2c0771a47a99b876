"""Class probabilities on disk: what the CRF takes of a prediction, for each image and read-out.

They are written in shards (`shards`), a record for each image. Its header says `size` [H, W] and `labels`:
the mask values of the maps of each read-out; its parts are the levels of each read-out (`packed_maps`).
Level n stands for the probability exp(-n / 1024), and the last one for all up to 1e-5. So the unary of a CRF,
-log p, is known to 1/2048; masks after the CRF differ in a few pixels of a million from those of float32
(docs/stages.md has the measurement).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsss_bench.artifacts.layout import how_to_mend
from wsss_bench.artifacts.npz import LARGEST
from wsss_bench.artifacts.packed_maps import pack, unpack
from wsss_bench.artifacts.seed_checks import MAX_PIXELS
from wsss_bench.artifacts.shards import PROBABILITIES_SUFFIX, ShardWriter, find_records
from wsss_bench.types import IGNORE

LEAST = 1e-5
"""Smaller probabilities are not told from this one. It is the usual floor of a CRF."""
STEPS = 1024
"""Levels for a factor of e."""
LAST = round(-math.log(LEAST) * STEPS)
"""The level of `LEAST`."""
BYTES_PER_LABEL_AND_MEGAPIXEL = 250_000
"""What a map takes on average (docs/stages.md has the measurement)."""

_PROBABILITY_OF_LEVEL = np.append(np.exp(np.arange(LAST) / -STEPS), LEAST).astype(np.float32)


class LabelMaps(NamedTuple):
    """The probabilities of some labels of an image, in levels."""

    labels: np.ndarray  # (K,) uint8 mask values: 0 for background, c + 1 for class c
    levels: np.ndarray  # (K, H, W) uint16 in 0..LAST

    def probabilities(self) -> np.ndarray:
        """`(K, H, W)` float32 in (0, 1]."""
        found: np.ndarray = _PROBABILITY_OF_LEVEL[self.levels]
        return found


class ProbabilityShards:
    """Writes the probabilities of one process.

    Args:
        folder: Folder of the shards; made with the first of them.
        rank: Rank of the process.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self._shards = ShardWriter(folder, rank, PROBABILITIES_SUFFIX)

    def __enter__(self) -> ProbabilityShards:
        return self

    def __exit__(self, *_: object) -> None:
        self._shards.close()

    def write(self, image_id: str, readouts: Mapping[str, LabelMaps]) -> None:
        """Write all read-outs of an image. When this returns, a process that is killed has not lost them."""
        facts = {
            "size": [int(side) for side in next(iter(readouts.values())).levels.shape[1:]],
            "labels": {name: [int(value) for value in maps.labels] for name, maps in readouts.items()},
        }
        self._shards.append(image_id, facts, {name: pack(maps.levels) for name, maps in readouts.items()})


def read_probabilities(folder: Path, image_id: str, readouts: Collection[str]) -> dict[str, LabelMaps]:
    """Read the probabilities of some read-outs of an image.

    Raises:
        FileNotFoundError: there are none of this image.
        ValueError: they are damaged, or lack a read-out.
    """
    records = find_records(folder).get(image_id)
    if not records:
        raise FileNotFoundError(
            f"no probabilities of image {image_id!r} in {folder}; {how_to_mend(folder / image_id)}"
        )
    path = records[0].path
    try:
        header, contents = records[0].read(readouts)
        if missing := [name for name in readouts if name not in contents]:
            raise ValueError(f"there is no read-out {', '.join(missing)}, only {', '.join(header['labels'])}")
        return _decode(header, contents)
    except Exception as error:  # zlib, numpy, the system, or a content that is no record of probabilities
        raise ValueError(
            f"{path}: the probabilities of image {image_id!r} are not readable ({error}); {how_to_mend(path)}"
        ) from error


def probability_ids(folder: Path) -> set[str]:
    """Ids of the images that have probabilities; records that are cut off do not count."""
    return set(find_records(folder))


def readouts_in(folder: Path) -> list[str]:
    """Names of the read-outs of the first image of a folder; none if it has no image."""
    records = find_records(folder)
    return list(next(iter(records.values()))[0].read(())[0]["labels"]) if records else []


def probability_bytes(pixels: float, labels: float) -> float:
    """Bytes on disk, about, of one read-out of an image with so many pixels and labels."""
    return BYTES_PER_LABEL_AND_MEGAPIXEL * labels * pixels / 1e6


def _decode(header: Mapping[str, Any], contents: Mapping[str, bytes]) -> dict[str, LabelMaps]:
    height, width = (int(side) for side in header["size"])
    labels = {name: _labels(header["labels"][name]) for name in contents}
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"its header gives the size {header['size']} of an image")
    total = 2 * height * width * sum(map(len, labels.values()))
    if total > LARGEST:
        raise ValueError(f"its maps take {total / 2**20:.0f} MiB, more than {LARGEST / 2**20:.0f} MiB")
    found = {}
    for name, content in contents.items():
        levels = unpack(content, (len(labels[name]), height, width), np.uint16)
        if levels.max() > LAST:
            raise ValueError(f"a level of a probability is {levels.max()}; expected 0 to {LAST}")
        found[name] = LabelMaps(labels[name], levels)
    return found


def _labels(values: Sequence[int]) -> np.ndarray:
    if not values or len(set(values)) < len(values) or not all(0 <= value < IGNORE for value in values):
        raise ValueError(f"its header gives the labels {values}; expected different mask values")
    return np.asarray(values, np.uint8)
