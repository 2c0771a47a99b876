"""Removing the large files of a complete stage, which stays complete: its manifest and cost remain.

`pruned.json` names the folders. It is written before the first file is removed, so that an interrupted
removal is not taken for damage and can be repeated. A stage that is opened again loses it
(`stage_files.reopen`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from wsss_bench.artifacts.files import write_json
from wsss_bench.artifacts.layout import MASKS, PROBABILITIES, PRUNED_FILE, SEEDS, find_json

FOLDERS = {"seed": (SEEDS,), "refine": (MASKS,), "predict": (PROBABILITIES, MASKS), "crf": (MASKS,)}
"""What can be made again without any training, by kind of the stage."""


def pruned_folders(stage: Path) -> tuple[str, ...]:
    """Names of the folders that were removed from a stage."""
    content = find_json(stage / PRUNED_FILE)
    return tuple(content.get("folders") or filter(None, [content.get("folder")]))  # one, in earlier versions


def prune_stage(stage: Path, folder: str) -> None:
    """Remove a folder of a complete stage that no other process works in."""
    write_json(stage / PRUNED_FILE, {"folders": sorted({*pruned_folders(stage), folder})})
    shutil.rmtree(stage / folder)


def files_and_bytes(folder: Path) -> tuple[int, int]:
    """Number of the files below a folder, and their bytes."""
    sizes = [os.lstat(Path(place) / name).st_size for place, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)
