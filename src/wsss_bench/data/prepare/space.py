"""What is to be written, against what is there already and the space that is free."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from wsss_bench.data.prepare.unpacking import Plan
from wsss_bench.data.prepare.writing import OtherContent

BLOCK = 4096
"""On most file systems a file takes a multiple of this, in bytes."""


def size_text(size: int) -> str:
    """`1.42 GB`, `23.5 MB`, `12 kB`, with 1000 bytes a kB."""
    for unit, name, digits in ((10**9, "GB", 2), (10**6, "MB", 1)):
        if size >= unit:
            return f"{size / unit:.{digits}f} {name}"
    return f"{size / 1000:.0f} kB"


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
    """The free space of a folder in words.

    Args:
        needed: Bytes that are going to be written.
        files: Number of files.
        folder: An existing folder.

    Raises:
        ValueError: there is not enough.
    """
    free, inodes = shutil.disk_usage(folder).free, os.statvfs(folder)
    if needed > free:
        raise ValueError(
            f"{folder} has {size_text(free)} free, {size_text(needed)} are needed; free some space or choose "
            "another place"
        )
    if inodes.f_files and files > inodes.f_favail:  # some file systems do not count them
        raise ValueError(
            f"the file system of {folder} has room for {inodes.f_favail} more files, {files} are needed; "
            "remove some or choose another place"
        )
    return f"{size_text(free)} free"


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
