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
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from PIL import Image

from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.data.sources.base import Source
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
    (source, split, first), (_, other_split, second) = map(_read, arguments.stages)
    if split != other_split:
        raise SystemExit(f"the stages scored the splits {split} and {other_split}; choose two of one split")
    ids = source.ids(split)
    counted = [changes(source.mask(name), first.mask(name), second.mask(name)) for name in ids]
    total = Changes(*(np.sum(part, axis=0) for part in zip(*counted, strict=True)))
    print(f"{'% of the pixels that can have it':34s} first  second    gone     new")
    for error, possible, *counts in zip(ERRORS, *total, strict=True):
        print(f"{error:32s}" + "".join(f"{100 * count / possible:8.2f}" for count in counts))
    if arguments.picture:
        shown = ids[:: -(-len(ids) // SHOWN)]
        _draw(arguments.picture, source, shown, first.mask, second.mask)


def _read(stage: Path) -> tuple[Source, str, ScoredFiles]:
    """Source, split and scored files of an evaluate stage, from its plan."""
    plan: dict[str, Any] = yaml.safe_load((stage / "plan.yaml").read_text())
    module, _, name = plan["source"]["class_path"].rpartition(".")
    source = getattr(importlib.import_module(module), name)(**plan["source"]["init_args"])
    readout = (plan["scales"], plan["post"])
    if "seeds" in plan:
        return source, plan["split"], ScoredSeeds(Path(plan["seeds"]), plan["threshold"], 0, readout)
    return source, plan["split"], ScoredMasks(Path(plan["masks"]), readout)


def _draw(
    path: Path,
    source: Source,
    ids: list[str],
    first: Callable[[str], np.ndarray],
    second: Callable[[str], np.ndarray],
) -> None:
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
