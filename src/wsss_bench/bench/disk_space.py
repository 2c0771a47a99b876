"""Free space and files of the disk against what the new stages will take, before the first one starts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.disk import require_room, size_text
from wsss_bench.bench.validate import source_of
from wsss_bench.data.check import load_source
from wsss_bench.plan.plan import Stage
from wsss_bench.plan.sizes import Size, stage_size

SAMPLED = 8
"""Images of a split whose size is looked at."""


def size_of(stages: Iterable[Stage]) -> Size:
    """What the stages will take together; data that cannot be read count as nothing."""
    splits: dict[str, tuple[int, float]] = {}
    total = Size(0, 0)
    for stage in stages:
        split = stage.config.get("split")
        images, pixels = 0, 0.0
        if split is not None:
            key = json.dumps([source_of(stage.config), split], sort_keys=True)
            if key not in splits:
                splits[key] = _images(source_of(stage.config), split)
            images, pixels = splits[key]
        total += stage_size(stage, images, pixels)
    return total


def check_space(size: Size, folder: Path) -> str:
    """Check that a folder has room for `size`.

    Returns:
        A sentence for the plan: what is needed, and what is free.

    Raises:
        ValueError: it has not.
    """
    needed = f"the new stages take about {size_text(size.bytes)} in {size.files} files"
    free = require_room(size.bytes, size.files, folder, needed, "name another folder with --runs")
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
