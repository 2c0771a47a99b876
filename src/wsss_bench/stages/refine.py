"""The refine stage: `wsss-bench refine --config FILE` turns the seeds of a split into pseudo masks.

A mask that exists, can be read and has the size of its image is not computed again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wsss_bench.artifacts.files import mask_path, read_mask, read_seed, seed_path, write_mask
from wsss_bench.artifacts.layout import require_files, seed_folder
from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.crf.pool import ImagePool
from wsss_bench.data.sources.base import Source
from wsss_bench.refine.base import NetworkRefiner, Refiner
from wsss_bench.stages.parser import BY_HAND, FunctionParser
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
        source: Where the images are; its masks are not looked at.
        split: Split that the seeds were made on.
        seeds: Seed stage.
        refiner: How a mask is made.
        out: Stage folder to write: masks/<id>.png.
        workers: Processes; 0 works in this one; null takes what is available (`WSSS_WORKERS`, or all cores).
        network: Train stage of the refiner's own network, if it has one.
        stage: What the plan knows of the stage.
        resolved: These options, for the manifest.
    """
    ids = source.ids(split)
    folder = seed_folder(seeds)
    require_files(
        [image_id for image_id in ids if not seed_path(folder, image_id).is_file()], "seed", folder, split
    )
    masks = Path(out) / "masks"
    load_network(refiner, network)
    require_inputs(refiner, ids, split)
    workers = workers if refiner.in_pool else 0
    with open_stage(out, "refine", resolved, stage) as run, ImagePool(workers) as pool:
        for index, image_id in enumerate(ids):
            maps = read_seed(folder, image_id)
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
    """Give a refiner the network that was trained for it.

    Raises:
        ValueError: it has none, or needs one and got none.
    """
    if isinstance(refiner, NetworkRefiner) != (network is not None):
        name = type(refiner).__name__
        raise ValueError(
            f"refiner {name} has no network of its own; leave out --network"
            if network is not None
            else f"refiner {name} needs --network, the folder of the stage that trained its network"
        )
    if isinstance(refiner, NetworkRefiner) and network is not None:
        refiner.load(network)


def require_inputs(refiner: Refiner, image_ids: list[str], split: str) -> None:
    """Raise `FileNotFoundError` where files that the refiner reads along with the images are missing, and count them."""
    missing = refiner.missing_files(image_ids)
    if missing:
        raise FileNotFoundError(
            f"{type(refiner).__name__} lacks the files of {len(missing)} of the {len(image_ids)} images of split {split!r}, "
            f"the first {missing[0]}; make one for every image of the split, or use another refiner"
        )


def write_refined(refiner: Refiner, image: np.ndarray, maps: ScoreMaps, folder: Path) -> None:
    """Refine one image and write its mask."""
    write_mask(folder, maps.image_id, refiner(image, maps))


def check_seed(maps: ScoreMaps, num_classes: int) -> None:
    """Raise `ValueError` where a seed has a class that the data set has not."""
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
    FunctionParser(refine).check(config)


def main(argv: list[str]) -> int:
    """Refine the seeds of one split; see `wsss-bench refine --help`."""
    FunctionParser(refine).run(argv)
    return 0
