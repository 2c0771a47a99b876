"""What is to be written, against what is there already and the space that is free."""

from __future__ import annotations

import os
from pathlib import Path

from wsss_bench.artifacts.disk import require_room, size_text
from wsss_bench.data.prepare.unpacking import Plan
from wsss_bench.data.prepare.writing import OtherContent

BLOCK = 4096
"""On most file systems a file takes a multiple of this, in bytes."""


def require_writable(folder: Path) -> None:
    """Make a folder and write into it, so that a place that cannot be written is found at once.

    Raises:
        ValueError: a file where a folder is expected.
        OSError: no permission, or a read-only file system.
    """
    for place in (folder, *folder.absolute().parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"{folder} cannot be made, since {place} is a file; name another --root")
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".{os.getpid()}.probe"
    probe.touch()
    probe.unlink()


def require_space(needed: int, files: int, folder: Path) -> str:
    """The free space of a folder in words; `ValueError` if it has not room for so many bytes and files."""
    what = f"{size_text(needed)} in {files} files are needed"
    return require_room(needed, files, folder, what, "choose another place")


def check_target(plan: Plan) -> str:
    """What is going to be written, in words.

    Raises:
        OtherContent: a file of the same name is there and has another size.
        ValueError: there is not enough space.
    """
    missing = []
    for step in plan.steps:
        path = plan.folder / step.place
        if not os.path.lexists(path):
            missing.append(step)
        elif not path.is_file() or (step.size is not None and path.stat().st_size != step.size):
            raise OtherContent(path)
    needed = sum(-(-step.bytes // BLOCK) * BLOCK for step in missing)
    free = require_space(needed, len(missing), plan.folder)
    about = "about " if any(step.size is None for step in missing) else ""
    kept = len(plan.steps) - len(missing)
    there = f" ({kept} others are there and are compared)" if kept else ""
    return f"{about}{size_text(needed)} in {len(missing)} files to write in {plan.folder}, {free}{there}"
