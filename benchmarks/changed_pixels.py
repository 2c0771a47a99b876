"""Where two results on the same images differ: `python benchmarks/changed_pixels.py STAGE OTHER`.

STAGE and OTHER are evaluate stages of one split, such as CAM's seeds and CLIMS'. Seeds are read at their
fixed threshold, masks at the read-out that ranks. Printed are the pixels that each has wrong, and how
many errors of STAGE are gone in OTHER and how many are new there, in percent of the pixels that can have
the error: background taken for an object (false positives, of the background pixels), objects taken for
background (false negatives, of the object pixels), objects of a wrong class (of the object pixels).

`--picture FILE` shows images evenly spread over the split, from top to bottom: image, truth, both masks, and
what has changed (green: an error is gone, red: a new one).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from wsss_bench.artifacts.files import read_manifest
from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.data.sources.base import Source
from wsss_bench.own_modules import import_class
from wsss_bench.stages.scored_files import ScoredFiles, ScoredMasks, ScoredSeeds
from wsss_bench.types import IGNORE

ERRORS = ("false positives", "false negatives", "wrong class")
SHOWN, SIDE = 8, 144  # images of the picture, and pixels of a panel's side
GONE, NEW = (60, 170, 80), (210, 60, 50)


class Changes(NamedTuple):
    """Numbers of pixels with each of `ERRORS`, all int64 of shape (3,).

    Attributes:
        possible: Pixels that can have the error.
        before, after: Pixels that have it in the first, in the second mask.
        gone: Have it in the first mask and are right in the second.
        new: Are right in the first mask and have it in the second.
    """

    possible: np.ndarray
    before: np.ndarray
    after: np.ndarray
    gone: np.ndarray
    new: np.ndarray


def errors_of(truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(3, H, W) bool, pixels with each of `ERRORS`; `truth` and `mask` (H, W), 255 of the truth has none."""
    known, is_object = truth != IGNORE, truth > 0
    return np.stack(
        [
            known & ~is_object & (mask > 0),
            known & is_object & (mask == 0),
            known & is_object & (mask > 0) & (mask != truth),
        ]
    )


def changes(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> Changes:
    """Count the errors of two masks of one image, all (H, W) uint8."""
    known = truth != IGNORE
    objects = (known & (truth > 0)).sum()
    before, after = errors_of(truth, first), errors_of(truth, second)
    counts = (before, after, before & (second == truth), after & (first == truth))
    possible = np.asarray([known.sum() - objects, objects, objects])
    return Changes(possible, *(part.sum((1, 2)) for part in counts))


def main() -> None:
    """Print the table; draw the picture where one is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", type=Path, nargs=2, metavar="STAGE")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    try:
        source, split, first, second = read_stages(*arguments.stages)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"changed_pixels: {error}") from error
    total = all_changes(source, split, first, second)
    print(f"{'% of the pixels that can have it':34s} first  second    gone     new")
    for error, possible, *counts in zip(ERRORS, *total, strict=True):
        shares = (100 * count / possible if possible else 0.0 for count in counts)
        print(f"{error:32s}" + "".join(f"{share:8.2f}" for share in shares))
    if arguments.picture:
        draw(arguments.picture, source, shown_images(source, split), first.mask, second.mask)


def _scored(stage: Path, folder: str) -> Path:
    """What a stage scored: beside it, where the runs were moved or are read from another folder."""
    beside = stage.parent / Path(folder).name
    return beside if beside.is_dir() else Path(folder)


def _scored(stage: Path, folder: str) -> Path:
    """What a stage scored: beside it, where the runs were moved or are read from another folder."""
    beside = stage.parent / Path(folder).name
    return beside if beside.is_dir() else Path(folder)


def all_changes(source: Source, split: str, first: ScoredFiles, second: ScoredFiles) -> Changes:
    """The changes of all images of a split."""
    counted = [changes(source.mask(name), first.mask(name), second.mask(name)) for name in source.ids(split)]
    return Changes(*(np.sum(part, axis=0) for part in zip(*counted, strict=True)))


def read_stages(stage: Path, other: Path) -> tuple[Source, str, ScoredFiles, ScoredFiles]:
    """Source and split of two evaluate stages, and the files that each has scored.

    Raises:
        FileNotFoundError: a folder is no complete stage, or what it has scored is gone.
        ValueError: a stage is of another kind, or the two scored different images.
    """
    configs = []
    for path in (stage, other):
        manifest = read_manifest(path)
        if manifest["kind"] != "evaluate":
            raise ValueError(f"{path} is a stage of the kind {manifest['kind']}; name evaluate stages")
        configs.append(manifest["config"])
    scored = [(config["source"], config["split"]) for config in configs]
    if scored[0] != scored[1]:
        raise ValueError(
            f"{stage} scored {scored[0][1]} of {scored[0][0]}, {other} {scored[1][1]} of {scored[1][0]}; "
            "choose two stages of one split of the same data"
        )
    declared, split = scored[0]
    source: Source = import_class(declared["class_path"])(**declared["init_args"])
    ids = source.ids(split)
    files: list[ScoredFiles] = []
    for path, config in zip((stage, other), configs, strict=True):
        readout = (config["scales"], config["post"])
        if config.get("seeds"):
            files.append(ScoredSeeds(_scored(path, config["seeds"]), config["threshold"], 0, readout))
        else:
            files.append(ScoredMasks(_scored(path, config["masks"]), readout))
        files[-1].require_files_of(ids, split)
    return source, split, files[0], files[1]


def shown_images(source: Source, split: str) -> list[str]:
    """The images of the picture, evenly spread over a split."""
    ids = source.ids(split)
    return ids[:: -(-len(ids) // SHOWN)]


def draw(
    path: Path,
    source: Source,
    ids: list[str],
    first: Callable[[str], np.ndarray],
    second: Callable[[str], np.ndarray],
) -> None:
    """Write the picture of the images, with the masks that `first` and `second` give for an id."""
    sheet = Image.new("RGB", (len(ids) * SIDE, 5 * SIDE), "white")
    for column, image_id in enumerate(ids):
        image, truth = source.image(image_id), source.mask(image_id)
        masks = truth, first(image_id), second(image_id)
        before, after = (errors_of(truth, mask).any(0) for mask in masks[1:])
        changed = image // 2 + 96
        changed[before & ~after], changed[after & ~before] = GONE, NEW
        panels = [Image.fromarray(image), *map(_coloured, masks), Image.fromarray(changed)]
        for row, panel in enumerate(panels):
            sheet.paste(_fitted(panel), (column * SIDE, row * SIDE))
    sheet.save(path)


def _fitted(panel: Image.Image) -> Image.Image:
    scale = (SIDE - 4) / max(panel.size)
    return panel.resize([round(side * scale) for side in panel.size], Image.Resampling.NEAREST)


def _coloured(mask: np.ndarray) -> Image.Image:
    panel = Image.fromarray(mask)
    panel.putpalette(voc_palette())
    return panel.convert("RGB")


if __name__ == "__main__":
    main()
