"""Seeds on disk: the score maps of the images of a split.

The suite writes shards (`shards`). Their headers say `size` [H, W], `classes` and `shapes`; their parts are
`scores`, `strided` and, from some methods, `background`, each a packed array of levels (`seed_levels`).

It also reads a folder of `<image id>.npz` files with the arrays `classes` (K,), `scores` (K, h, w), `size`
(2,) and, where there are any, `strided` and `background`, in float16 or float32: earlier versions wrote
them, and other programs can.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from wsss_bench.artifacts.files import file_names
from wsss_bench.artifacts.layout import how_to_mend
from wsss_bench.artifacts.npz import LARGEST, read_arrays
from wsss_bench.artifacts.packed_maps import pack, unpack
from wsss_bench.artifacts.seed_checks import check_seed_arrays
from wsss_bench.artifacts.seed_levels import distinct_winner, levels_of, scores_of
from wsss_bench.artifacts.shards import Record, ShardWriter, find_records
from wsss_bench.types import ScoreMaps

PARTS = ("scores", "strided")
"""The maps of a seed: random walks read `strided`; all others `scores`, with `background` if there is one."""
BYTES_PER_CLASS_AND_MEGAPIXEL = 170_000
"""What a seed takes on average, `strided` included (docs/stages.md has the measurement)."""


class SeedShards:
    """Writes the seeds of one process.

    Args:
        folder: Folder of the seeds; made with the first of them.
        rank: Rank of the process.
    """

    def __init__(self, folder: Path | str, rank: int = 0) -> None:
        self._shards = ShardWriter(Path(folder), rank)

    def __enter__(self) -> SeedShards:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, maps: ScoreMaps) -> None:
        """Write the score maps of one image. When this returns, a process that is killed has not lost them.

        Raises:
            ValueError: scores outside [0, 1].
        """
        scores = np.asarray(maps.scores)
        levels = {"scores": distinct_winner(levels_of(scores), scores.astype(np.float16))}
        if maps.strided is not None:
            levels["strided"] = levels_of(maps.strided)
        if maps.background is not None:
            levels["background"] = levels_of(maps.background)[None]
        facts = {
            "size": [int(side) for side in maps.size],
            "classes": [int(value) for value in maps.classes],
            "shapes": {name: plane.shape for name, plane in levels.items()},
        }
        self._shards.append(maps.image_id, facts, {name: pack(plane) for name, plane in levels.items()})

    def close(self) -> None:
        """Bring all seeds to the disk."""
        self._shards.close()


def write_seed(folder: Path | str, maps: ScoreMaps) -> None:
    """Write the score maps of one image; for many images, `SeedShards` are faster."""
    with SeedShards(folder) as writer:
        writer.write(maps)


def read_seed(folder: Path | str, image_id: str, parts: Collection[str] = PARTS) -> ScoreMaps:
    """Read the score maps of one image.

    Args:
        folder: Folder of the seeds.
        image_id: Id of the image.
        parts: The maps to read. `scores` that are not read are zeros `(K, 1, 1)`; a `strided` is None.

    Raises:
        FileNotFoundError: no seed for this image.
        ValueError: it is damaged, or its scores are not in [0, 1] (`seed_checks`).
    """
    records = find_records(Path(folder)).get(image_id, [])
    if not records:
        return _read_npz(Path(folder) / f"{image_id}.npz", image_id)
    try:
        return _decode(image_id, parts, *_first_intact(records, parts))
    except Exception as error:  # zlib, numpy, the system, or a content that is no seed
        path = records[0].path
        raise ValueError(
            f"{path}: the seed of image {image_id!r} is not readable ({error}); {how_to_mend(path)}"
        ) from error


def seed_ids(folder: Path | str) -> set[str]:
    """Ids of the images that have a seed, without decoding them; records that are cut off do not count."""
    others = {name.removesuffix(".npz") for name in file_names(folder) if name.endswith(".npz")}
    return others | find_records(Path(folder)).keys()


def seed_bytes(pixels: float, classes: float) -> float:
    """Bytes on disk, about, of the seed of an image with so many pixels and labelled classes."""
    return BYTES_PER_CLASS_AND_MEGAPIXEL * classes * pixels / 1e6


def _first_intact(
    records: Sequence[Record], parts: Collection[str]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The content of the latest record; where the disk has lost that, of the one before it."""
    names = [*parts, "background"] if "scores" in parts else parts
    for record in records[:-1]:
        with suppress(OSError, ValueError):
            return record.read(names)
    return records[-1].read(names)


def _decode(
    image_id: str, parts: Collection[str], header: dict[str, Any], contents: dict[str, bytes]
) -> ScoreMaps:
    shapes = {name: _shape(header["shapes"][name]) for name in contents}
    total = sum(2 * math.prod(shape) for shape in shapes.values())
    if total > LARGEST:
        raise ValueError(f"its maps take {total / 2**20:.0f} MiB, more than {LARGEST / 2**20:.0f} MiB")
    arrays = {name: scores_of(unpack(content, shapes[name])) for name, content in contents.items()}
    arrays |= {name: np.asarray(header[name], np.int64) for name in ("size", "classes")}
    if "scores" not in parts:
        arrays["scores"] = np.zeros((len(arrays["classes"]), 1, 1), np.float16)
    if "background" in arrays:
        arrays["background"] = arrays["background"][0]
    return check_seed_arrays(image_id, arrays)


def _shape(sides: Sequence[int]) -> tuple[int, int, int]:
    number, height, width = (int(side) for side in sides)
    if number < 0 or height < 1 or width < 1:
        raise ValueError(f"its header gives the shape {sides} of maps")
    return number, height, width


def _read_npz(path: Path, image_id: str) -> ScoreMaps:
    if not path.is_file():
        raise FileNotFoundError(
            f"no seed for image {image_id!r} in {path.parent}; run the seed stage on its split"
        )
    try:
        names = ("classes", "scores", "size", "strided", "background")
        return check_seed_arrays(image_id, read_arrays(path, names))
    except Exception as error:  # zipfile, zlib, numpy, or content that is no seed
        raise ValueError(f"{path} is not a readable seed file ({error}); {how_to_mend(path)}") from error
