"""Free space and files of the disk against what the new stages will take, before the first one starts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from wsss_bench.artifacts.disk import require_room, size_text
from wsss_bench.bench.prune import folders_named
from wsss_bench.bench.validate import source_of
from wsss_bench.data.check import load_source
from wsss_bench.plan.plan import Stage
from wsss_bench.plan.sizes import Size, stage_size

SAMPLED = 8
"""Images of a split whose size is looked at."""


class Space(NamedTuple):
    """What stages will take on the disk.

    Args:
        lasting: What stays, all together.
        passing: What the bench prunes as soon as it is read, all together.
        largest: The largest part of it that one stage has.
    """

    lasting: Size
    passing: Size = Size(0, 0)
    largest: Size = Size(0, 0)


def space_of(stages: Iterable[Stage], pruned: Collection[str] = ()) -> Space:
    """What the stages will take; data that cannot be read count as nothing.

    Args:
        stages: The stages.
        pruned: Kinds of files that the bench prunes (`prune.KINDS`).
    """
    splits: dict[str, tuple[int, float]] = {}
    lasting = passing = largest = Size(0, 0)
    for stage in stages:
        split = stage.config.get("split")
        images, pixels = 0, 0.0
        if split is not None:
            key = json.dumps([source_of(stage.config), split], sort_keys=True)
            if key not in splits:
                splits[key] = _images(source_of(stage.config), split)
            images, pixels = splits[key]
        whole = stage_size(stage, images, pixels)
        stays = stage_size(stage, images, pixels, folders_named(stage.kind, pruned))
        passes = Size(whole.bytes - stays.bytes, whole.files - stays.files)
        lasting, passing, largest = lasting + stays, passing + passes, max(largest, passes)
    return Space(lasting, passing, largest)


def check_space(space: Space, folder: Path) -> str:
    """Check that a folder has room for what lasts and for the largest part of what passes.

    Returns:
        A sentence for the plan: what is needed, and what is free.

    Raises:
        ValueError: it has not.
    """
    needed = f"the new stages take about {size_text(space.lasting.bytes)} in {space.lasting.files} files"
    if space.passing.bytes:
        needed += f", and until it is pruned up to {size_text(space.passing.bytes)} more"
    at_once = space.lasting + space.largest
    free = require_room(at_once.bytes, at_once.files, folder, needed, "name another folder with --runs")
    return f"{needed}, {free}"


def _images(source: dict[str, Any], split: str) -> tuple[int, float]:
    """Number of images of a split, and mean number of pixels of a few of them."""
    try:
        built = load_source(source)
        ids = built.ids(split)
        shapes = [built.image(image_id).shape for image_id in ids[:: -(-len(ids) // SAMPLED)]]
    except Exception:  # whatever the code of a source raises; the checks of stages say it
        return 0, 0.0
    return len(ids), sum(height * width for height, width, _ in shapes) / len(shapes)
