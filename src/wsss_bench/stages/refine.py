"""The refine stage: `wsss-bench refine --config FILE` turns the seeds of a split into pseudo masks.

Masks that exist, are readable and have the size of their image are not computed again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wsss_bench.artifacts.data_reads import data_reads
from wsss_bench.artifacts.files import mask_path, read_mask, write_mask
from wsss_bench.artifacts.layout import MASKS, require_files, seed_folder
from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.artifacts.seeds import read_seed, seed_ids
from wsss_bench.crf.pool import ImagePool
from wsss_bench.data.listing import checked_digests
from wsss_bench.data.sources.base import Source
from wsss_bench.refine.base import NetworkRefiner, Refiner
from wsss_bench.stages.parser import BY_HAND, FunctionParser, Instantiators
from wsss_bench.types import ScoreMaps


def refine(
    source: Source,
    split: str,
    seeds: Path,
    refiner: Refiner,
    out: Path,
    workers: int | None = None,
    network: Path | None = None,
    stage: StageInfo = BY_HAND,
    *,
    resolved: dict[str, Any],
) -> None:
    """Turn seeds into pseudo masks.

    Args:
        source: Source of the images; its masks are not used.
        split: Split of the seeds.
        seeds: Seed stage.
        refiner: Refiner that makes a mask from the seeds of an image.
        out: Stage folder to write: masks/<id>.png.
        workers: Number of processes; 0 works in this one; null takes `WSSS_WORKERS`, or all available cores.
        network: Train stage of the network of the refiner, if it has one.
        stage: Facts of the stage from the plan.
        resolved: These options, for the manifest.
    """
    ids = source.ids(split)
    folder = seed_folder(seeds)
    present = seed_ids(folder)
    require_files([image_id for image_id in ids if image_id not in present], "seed", folder, split)
    masks = Path(out) / MASKS
    load_network(refiner, network)
    require_inputs(refiner, ids, split)
    workers = workers if refiner.in_pool else 0
    data = checked_digests(source, data_reads("refine", resolved), stage.data, out)
    with open_stage(out, "refine", resolved, stage, data) as run, ImagePool(workers) as pool:
        for index, image_id in enumerate(ids):
            maps = read_seed(folder, image_id, refiner.seed_parts)
            check_seed(maps, len(source.class_names))
            if not _is_done(masks, maps):
                image = source.image(image_id)
                if image.shape[:2] != maps.size:
                    raise ValueError(
                        f"seed of image {image_id!r} is for {maps.size} (height, width), the image is "
                        f"{image.shape[:2]}; make the seeds from the same images"
                    )
                pool.run(image_id, write_refined, refiner, image, maps, masks)
            run.progress(index + 1, len(ids), "images")
        run.record(image_count=len(ids))


def load_network(refiner: Refiner, network: Path | None) -> None:
    """Load the trained network of a refiner.

    Raises:
        ValueError: a network is given for a refiner without one, or missing for a refiner that needs it.
    """
    if isinstance(refiner, NetworkRefiner) != (network is not None):
        name = type(refiner).__name__
        raise ValueError(
            f"refiner {name} has no network; leave out --network"
            if network is not None
            else f"refiner {name} needs --network, the folder of the stage that trained its network"
        )
    if isinstance(refiner, NetworkRefiner) and network is not None:
        refiner.load(network)


def require_inputs(refiner: Refiner, image_ids: list[str], split: str) -> None:
    """Check that all additional files that the refiner reads exist.

    Raises:
        FileNotFoundError: some are missing; the message has their number and the first of them.
    """
    missing = refiner.missing_files(image_ids)
    if missing:
        raise FileNotFoundError(
            f"{type(refiner).__name__} lacks the files of {len(missing)} of the {len(image_ids)} images "
            f"of split {split!r}, the first {missing[0]}; make one for every image of the split, or use "
            "another refiner"
        )


def write_refined(refiner: Refiner, image: np.ndarray, maps: ScoreMaps, folder: Path) -> None:
    """Refine one image and write its mask."""
    write_mask(folder, maps.image_id, refiner(image, maps))


def check_seed(maps: ScoreMaps, num_classes: int) -> None:
    """Raise `ValueError` if a seed has a class that is not in the data set."""
    unknown = [int(value) for value in maps.classes if not 1 <= value <= num_classes]
    if unknown:
        raise ValueError(
            f"seed of image {maps.image_id!r} has the classes {unknown}; the data set has 1..{num_classes}. "
            "Was it made with another class list?"
        )


def _is_done(folder: Path, maps: ScoreMaps) -> bool:
    try:
        return read_mask(mask_path(folder, maps.image_id)).shape == maps.size
    except (FileNotFoundError, ValueError):
        return False


def parse(config: dict[str, Any]) -> None:
    """Check the configuration of a stage without building anything."""
    FunctionParser(refine).parse(config)


def try_out(config: dict[str, Any], instantiators: Instantiators) -> None:
    """Build what the stage needs and check what can be known before it runs."""
    built = FunctionParser(refine).build(config, instantiators)
    require_inputs(built.refiner, built.source.ids(built.split), built.split)


def main(argv: list[str]) -> int:
    """Refine the seeds of one split; see `wsss-bench refine --help`."""
    FunctionParser(refine).run(argv)
    return 0
