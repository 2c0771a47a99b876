"""`wsss-bench import seeds`: CAMs of another repository become the seeds of a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsss_bench.artifacts.layout import SEEDS, require_files
from wsss_bench.artifacts.seeds import SeedShards
from wsss_bench.data.sources.base import Source
from wsss_bench.exchange.cam_files import find_cam_files, read_cams
from wsss_bench.exchange.imported_stage import imported_stage
from wsss_bench.exchange.seed_of_cams import Reading, seed_of_cams
from wsss_bench.types import ScoreMaps

LOOKED_AT = 50
"""Number of images whose keys are compared with the image labels before anything is written."""


def import_seeds(
    source: Source, split: str, cams: Path, out: Path, reading: Reading, config: Mapping[str, Any]
) -> str:
    """Write the CAMs of a split as the seeds of a stage.

    Args:
        source: The data set; its images and image labels are read.
        split: The split; each of its images must have a file.
        cams: Folder of the CAM files, `<image id>.npy` or `.npz`.
        out: Stage folder to write: `seeds`.
        reading: How the files are read.
        config: What the manifest records.

    Returns:
        What was noticed, for people.

    Raises:
        FileNotFoundError: images without a file.
        ValueError: a file that cannot be read, or whose classes, sizes or values do not fit.
    """
    ids = source.ids(split)
    found = find_cam_files(cams, ids)
    require_files([image_id for image_id in ids if found[image_id] is None], "CAM", cams, split)
    files = {image_id: path for image_id, path in found.items() if path is not None}
    require_numbering(source, ids[:LOOKED_AT], files, reading)
    noted: Counter[str] = Counter()
    paths = list(files.values())
    with (
        imported_stage(out, config, source, split, ("images", "labels"), cams, paths) as progress,
        SeedShards(out / SEEDS) as shards,
    ):
        for done, image_id in enumerate(progress(ids), start=1):
            maps = _read_seed(source, image_id, files[image_id], reading)
            values, labelled = set(maps.classes.tolist()), _labelled(source, image_id)
            noted["more"] += bool(values - labelled)
            noted["fewer"] += bool(labelled - values)
            noted["background"] += maps.background is not None
            if noted["background"] not in (0, done):
                raise ValueError(
                    f"of {files[image_id]} and the files before it only some have a background map; all "
                    "files need one, or none: write them again in one way"
                )
            shards.write(maps)
    return "".join(_notes(noted, len(ids)))


def require_numbering(
    source: Source, ids: Sequence[str], files: Mapping[str, Path], reading: Reading
) -> None:
    """Refuse keys that fit the image labels under the other numbering.

    Raises:
        ValueError: more of the images have exactly their labels as keys under the other numbering.
    """
    fitting: Counter[str] = Counter()
    for image_id in ids:
        keys = read_cams(files[image_id], reading.name).keys
        labelled = _labelled(source, image_id)
        if keys is not None and labelled:
            fitting["classes"] += {key + 1 for key in keys} == labelled
            fitting["mask_values"] += set(keys) - {0} == labelled
    other = "mask_values" if reading.numbering == "classes" else "classes"
    if fitting[other] > fitting[reading.numbering]:
        zero = "background" if other == "mask_values" else "the first class"
        raise ValueError(
            f"the keys in {files[ids[0]].parent} are the labels of {fitting[other]} of the first {len(ids)} "
            f"images if 0 is {zero}, and of {fitting[reading.numbering]} if not; add --numbering {other}"
        )


def _read_seed(source: Source, image_id: str, file: Path, reading: Reading) -> ScoreMaps:
    cams = read_cams(file, reading.name)
    height, width = source.image(image_id).shape[:2]
    try:
        return seed_of_cams(image_id, cams, source.labels(image_id), (height, width), reading)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _labelled(source: Source, image_id: str) -> set[int]:
    """Mask values of the classes that an image is labelled with."""
    return set((np.flatnonzero(source.labels(image_id)) + 1).tolist())


def _notes(noted: Mapping[str, int], total: int) -> Iterator[str]:
    if noted["more"]:
        yield f"{noted['more']} of {total} images have a CAM of a class that they are not labelled with\n"
    if noted["fewer"]:
        yield f"{noted['fewer']} of {total} images have no CAM of a class that they are labelled with\n"
    if noted["background"]:
        yield "background maps were kept as an own background score: class scores up to theirs are 0\n"
