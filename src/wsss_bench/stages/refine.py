"""The refine stage: `wsss-bench refine --config FILE` turns the seeds of a split into pseudo masks.

Masks that exist, are readable and have the size of their image are not computed again. Images are shared
among processes, one on each core; a refiner that computes on a GPU has one process.
"""

from __future__ import annotations

from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Literal

from wsss_bench.artifacts.data_reads import data_reads
from wsss_bench.artifacts.files import mask_path, read_mask
from wsss_bench.artifacts.layout import MASKS, require_files, seed_folder
from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.artifacts.seeds import read_seed, seed_ids
from wsss_bench.crf.pool import ImagePool
from wsss_bench.data.listing import checked_digests
from wsss_bench.data.sources.base import Source
from wsss_bench.refine.base import Refiner
from wsss_bench.refine.process import use, write_refined
from wsss_bench.renamed import given_contents
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
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
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
            On a GPU there are none.
        network: Train stage of the network of the refiner, if it has one.
        accelerator: Where a refiner with torch computes; `auto`: on a GPU if there is one.
        stage: Facts of the stage from the plan.
        resolved: These options, for the manifest.
    """
    ids = source.ids(split)
    folder = seed_folder(seeds)
    present = seed_ids(folder)
    require_files([image_id for image_id in ids if image_id not in present], "seed", folder, split)
    masks = Path(out) / MASKS
    require_inputs(refiner, ids, split)
    refiner.device = device_of(refiner, accelerator)
    workers = workers if refiner.device == "cpu" else 0
    # a network that cannot be loaded is found here; each worker loads its own
    use(copy(refiner), network)
    data = checked_digests(source, data_reads("refine", resolved), stage.data, out)
    with (
        open_stage(out, "refine", resolved, stage, data) as run,
        ImagePool(workers, partial(use, refiner, network)) as pool,
    ):
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
                pool.run(image_id, write_refined, image, maps, masks)
            run.progress(index + 1, len(ids), "images")
        run.record(image_count=len(ids))


def device_of(refiner: Refiner, accelerator: Literal["auto", "cpu", "gpu"]) -> str:
    """The device that a refiner computes on: `cpu` or `cuda`.

    Raises:
        ValueError: a GPU is asked for and there is none, or the refiner uses none.
    """
    name = type(refiner).__name__
    if accelerator == "gpu" and not refiner.uses_gpu:
        raise ValueError(f"accelerator is gpu, but refiner {name} computes on the CPU alone; leave it out")
    if not refiner.uses_gpu or accelerator == "cpu":
        return "cpu"
    import torch  # which such a refiner has imported

    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError(f"accelerator is gpu, but refiner {name} finds no GPU; set accelerator: cpu")
    return "cuda" if torch.cuda.is_available() else "cpu"


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
    for place, content in given_contents(argv):
        if isinstance(content, dict) and "affinity_labels" in content:
            raise ValueError(
                f"{place}this refiner trains a network on the masks of its `affinity_labels`, which takes "
                "three stages; run them one by one, from the plans of a bench with this refiner, as "
                "docs/exchange.md says"
            )
    FunctionParser(refine).run(argv)
    return 0
