"""Removing the large files of a complete stage, which stays complete: its manifest and cost remain.

`pruned.json` names the folder. It is written before the first file is removed, so that an interrupted removal
is not taken for damage and can be repeated. A stage that is opened again loses it (`stage_files.reopen`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from wsss_bench.artifacts.files import write_json
from wsss_bench.artifacts.layout import MASKS, PRUNED_FILE, SEEDS, find_json

FOLDERS = {"seed": SEEDS, "refine": MASKS, "predict": MASKS}
"""What can be made again without any training, by kind of the stage."""


def pruned_folder(stage: Path) -> str | None:
    """Name of the folder that was removed from a stage; None if none was."""
    return find_json(stage / PRUNED_FILE).get("folder")


def prune_stage(stage: Path, folder: str) -> None:
    """Remove a folder of a complete stage that no other process works in."""
    write_json(stage / PRUNED_FILE, {"folder": folder})
    shutil.rmtree(stage / folder)


def files_and_bytes(folder: Path) -> tuple[int, int]:
    """Number of the files below a folder, and their bytes."""
    sizes = [os.lstat(Path(place) / name).st_size for place, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)
