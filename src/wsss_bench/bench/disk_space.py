"""Free space and files of the disk against what the new stages will take, before the first one starts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    disk = os.statvfs(existing)
    free = disk.f_bavail * disk.f_frsize
    needed = f"the new stages take about {_gigabytes(size.bytes)} in {size.files} files"
    if size.bytes > free:
        raise ValueError(
            f"{needed}, and {folder} has {_gigabytes(free)} free; free some space, or name another folder "
            "with --runs"
        )
    if disk.f_files and size.files > disk.f_favail:  # some file systems have no limit, and say 0
        raise ValueError(
            f"{needed}, and the disk of {folder} has room for {disk.f_favail} files (inodes); remove "
            "some, or name another folder with --runs"
        )
    return f"{needed}; {_gigabytes(free)} are free"


def _images(source: dict[str, Any], split: str) -> tuple[int, float]:
    """Number of images of a split, and mean number of pixels of a few of them."""
    try:
        built = load_source(source)
        ids = built.ids(split)
        shapes = [built.image(image_id).shape for image_id in ids[:: -(-len(ids) // SAMPLED)]]
    except Exception:  # whatever the code of a source raises; the checks of stages say it
        return 0, 0.0
    return len(ids), sum(height * width for height, width, _ in shapes) / len(shapes)


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB"
