"""The disk: the room that it has, and what happens below a running stage: it is full, the folder is gone."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


class DiskFull(ValueError):
    """There is no space left; the message has the folder and the free space."""


class FolderDeleted(ValueError):
    """A folder was deleted or replaced while a process worked in it."""


def full_disk(error: BaseException, folder: Path) -> str | None:
    """A sentence that says that the disk is full, or the quota used up; None for other errors.

    Args:
        error: An error, which may have been raised from another one. Libraries that write files themselves
            often raise an error that only holds the text of the system's.
        folder: Where files were being written; the error's own file name is preferred.
    """
    causes: BaseException | None = error
    while causes is not None:
        for number, what in FULL.items():
            by_system = isinstance(causes, OSError) and causes.errno == number
            if by_system or os.strerror(number) in str(causes):
                name = causes.filename if isinstance(causes, OSError) else None
                return _sentence(what, Path(name).parent if isinstance(name, str) else folder)
        causes = causes.__cause__ or causes.__context__
    return None


def full_disk_in_log(text: str) -> str | None:
    """The last sentence of `full_disk` in the log of a stage, if there is one."""
    found = re.findall(rf"(?:{'|'.join(FULL.values())}): .*", text)
    return found[-1] if found else None


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Raise `DiskFull` for an error of the body that is due to a full disk."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        sentence = full_disk(error, folder)
        if sentence is None:
            raise
        raise DiskFull(sentence) from error


class WatchedFolder:
    """A folder that must stay in its place while a process works in it.

    Writing a file makes its folder if that is missing. Without this check a process would therefore make a
    deleted folder again, with the later half of its files.

    Args:
        path: An existing folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity = os.stat(path)

    def check(self) -> None:
        """Raise `FolderDeleted` if the folder is gone, or another one is in its place."""
        try:
            same = os.path.samestat(os.stat(self.path), self._identity)
        except OSError as error:
            if error.errno not in GONE:
                raise
            same = False
        if not same:
            raise FolderDeleted(
                f"{self.path} was deleted or replaced during the work in it; nothing more is written there. "
                "Run the same command again to make it anew"
            )


def _sentence(what: str, folder: Path) -> str:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free / 2**20
    return f"{what}: {folder} has {free:.0f} MB free; free some space and run the same command again"


def size_text(size: float) -> str:
    """`1.42 GB`, `23.5 MB`, `12 kB`: decimal units, as disks have them."""
    for unit, name, digits in ((10**12, "TB", 2), (10**9, "GB", 2), (10**6, "MB", 1)):
        if size >= unit:
            return f"{size / unit:.{digits}f} {name}"
    return f"{size / 1000:.0f} kB"


def require_room(needed: int, files: int, folder: Path, what: str, remedy: str) -> str:
    """The free space of a folder in words.

    Args:
        needed: Bytes that are going to be written.
        files: Number of files.
        folder: The folder, which may not exist yet.
        what: What needs them, as the beginning of a sentence.
        remedy: What else to do than to free some space.

    Raises:
        ValueError: there is less.
    """
    disk = os.statvfs(next(path for path in (folder, *folder.absolute().parents) if path.is_dir()))
    free = disk.f_bavail * disk.f_frsize
    if needed > free:
        raise ValueError(f"{what}, and {folder} has {size_text(free)} free; free some space, or {remedy}")
    if disk.f_files and files > disk.f_favail:  # some file systems have no limit, and say 0
        raise ValueError(
            f"{what}, and the disk of {folder} has room for {disk.f_favail} files (inodes); remove some, or "
            f"{remedy}"
        )
    return f"{size_text(free)} free"
