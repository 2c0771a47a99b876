"""The lock of a folder, on disk: who works in it, for processes on several machines that share a file system.

The lock of `stages/<name>` is the folder `stages/.locks/<name>`. It has a file, an *entry*, for each process
that works there, and is free when it has none. The name of an entry belongs to one process and is used once.

- An entry is made in a folder of another name, which is then renamed to that of the lock. This fails if the
  lock has an entry, so of many that try it one succeeds. It needs no `flock`, which NFS and Lustre may lack.
- An entry is removed by its name. So a late process cannot remove the entry of one that came in between,
  which it could if all entries had the same name.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from wsss_bench.artifacts.holder import UNKNOWN, Holder

LOCKS = ".locks"
"""Folder of the locks, beside the folders that they are for."""
UNREADABLE = "unreadable"
"""Name of the one entry of a lock whose entries cannot be listed."""
ATTEMPTS = 1000
"""To make a folder in `LOCKS`, which others remove whenever it is empty."""


@dataclass(frozen=True)
class Entry:
    """An entry of a lock, as it was read.

    Args:
        path: Its file.
        holder: Who made it; `UNKNOWN` if the file is empty, cut off or unreadable.
        beat: When its holder last gave a sign of life, in ns, by the clock of the file system.
    """

    path: Path
    holder: Holder
    beat: int


def lock_of(folder: Path) -> Path:
    """The lock of a folder."""
    place = Path(os.path.abspath(folder))
    return place.parent / LOCKS / place.name


def entries_of(lock: Path) -> Iterator[Entry]:
    """The entries of a lock; none if it is free, and one of an unknown holder if they cannot be listed."""
    try:
        names = sorted(os.listdir(lock))
    except FileNotFoundError:
        return
    except OSError:  # a stale handle of NFS, or a folder that only its owner may read
        yield Entry(lock / UNREADABLE, UNKNOWN, 0)
        return
    for name in names:
        path = lock / name
        try:
            with open(path, "rb") as file:  # opened, since NFS may answer `stat` from its cache
                yield Entry(path, Holder.read(file.read()), os.fstat(file.fileno()).st_mtime_ns)
        except FileNotFoundError:  # removed in between
            continue
        except OSError:
            yield Entry(path, UNKNOWN, 0)


def enter_free(lock: Path, name: str, holder: Holder) -> bool:
    """Make the first entry of a lock; returns whether that succeeded, since it was free."""
    prepared = _make_folder(lock.parent, f".{name}")
    try:
        _write(prepared / name, holder)
        with suppress(OSError):
            os.rmdir(lock)  # some file systems rename onto nothing, but not onto an empty folder
        os.rename(prepared, lock)
        return True
    except OSError as error:
        if (lock / name).exists():  # an NFS client that asks twice is told that there is nothing to rename
            return True
        (prepared / name).unlink(missing_ok=True)
        prepared.rmdir()
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    finally:
        _tidy(lock)


def enter_beside(lock: Path, name: str, holder: Holder, other: str) -> bool:
    """Make an entry in a lock beside those whose names begin with `other`; returns whether there is one.

    It is looked for when the new entry is there: from then on nobody can take the lock as free.
    """
    try:
        _write(lock / name, holder)
    except FileNotFoundError:
        return False
    if any(found.startswith(other) for found in os.listdir(lock)):
        return True
    leave(lock, name)
    return False


def leave(lock: Path, name: str) -> None:
    """Remove an entry, and the lock if it was the last one."""
    with suppress(OSError):
        os.unlink(lock / name)
    _tidy(lock)


def _tidy(lock: Path) -> None:
    for folder in (lock, lock.parent):
        with suppress(OSError):  # it is not empty
            os.rmdir(folder)


def _make_folder(parent: Path, name: str) -> Path:
    for _ in range(ATTEMPTS):
        with suppress(FileExistsError):
            os.mkdir(parent)
        try:
            os.mkdir(parent / name)
        except FileNotFoundError:  # another process has removed the empty parent
            continue
        return parent / name
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(parent))


def _write(path: Path, holder: Holder) -> None:
    with open(path, "x") as file:
        json.dump(asdict(holder), file)
