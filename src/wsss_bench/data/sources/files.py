"""The files that a data set is read from, and digests that tell whether they changed.

Files are named relative to their folder and compared by content, so that data that were moved or copied are
the same data. Pictures, of which COCO has 13 GB, are compared by name and size only: a picture that is
replaced by another one of exactly the same number of bytes is not noticed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from wsss_bench.artifacts.files import sha256_of, write_atomically, write_json
from wsss_bench.artifacts.layout import find_json

ABSENT = "absent"
"""The digest of a file that does not exist."""
CACHE_FILE = "digests.json"
RACY_NANOSECONDS = 2_000_000_000
"""A file that changed this recently may change again within the resolution of its times: it is not cached."""
FileDigest = Callable[[Path], str]
"""Digest of one file, which exists."""


def by_content(path: Path) -> str:
    """Digest of the content of a file."""
    return sha256_of(path)[:32]


def by_size(path: Path) -> str:
    """The size of a file in bytes."""
    return str(path.stat().st_size)


class FileSet(NamedTuple):
    """Files of a data set.

    Args:
        root: Folder that their names are relative to.
        paths: The files, below `root`; as text where there are very many, since a `Path` takes longer to make
            than the size of its file to find.
        digest: How they are compared.
        prefix: Put before their names, to tell sources apart.
    """

    root: Path
    paths: Iterable[Path | str]
    digest: FileDigest = by_content
    prefix: str = ""


class DigestCache:
    """Digests of files that did not change since they were computed.

    A file counts as unchanged while its size, times and inode are the same.

    Args:
        folder: Folder of the cache file; None keeps the digests in memory only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = folder / CACHE_FILE if folder is not None else None
        # a damaged cache is an empty one
        self._known: dict[str, list[object]] = find_json(self._file) if self._file is not None else {}
        self._changed = False

    def digest(self, path: Path | str, compute: FileDigest) -> str:
        """`compute(path)`, `ABSENT` for a file that does not exist."""
        try:
            stat = os.stat(path)  # `Path.stat` takes half as long again
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        if compute is by_size:
            return str(stat.st_size)
        path = Path(path)
        found = self._find(path, compute, stat)
        if found is None:
            found = compute(path)
            self._keep(path, compute, stat, found)
        return found

    def known(self, path: Path, compute: FileDigest) -> str | None:
        """The digest of a file that exists; None if it is not known."""
        return self._find(path, compute, path.stat())

    def _find(self, path: Path, compute: FileDigest, stat: os.stat_result) -> str | None:
        known = self._known.get(_key(path, compute))
        return str(known[0]) if known is not None and known[1:] == _version(stat) else None

    def _keep(self, path: Path, compute: FileDigest, stat: os.stat_result, digest: str) -> None:
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > RACY_NANOSECONDS:
            self._known[_key(path, compute)] = [digest, *_version(stat)]
            self._changed = True

    def save(self) -> None:
        """Write the cache file, if something is new."""
        if self._changed and self._file is not None:
            write_json(self._file, self._known)
            self._changed = False


def _key(path: Path, compute: FileDigest) -> str:
    return f"{compute.__name__} {path.absolute()}"


def _version(stat: os.stat_result) -> list[object]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def listing_files(sets: Sequence[FileSet], cache: DigestCache) -> dict[str, str]:
    """The digests of files, by name."""
    listing = {}
    for files in sets:
        root = f"{files.root}{os.sep}"  # cut off as text: `Path.relative_to` would take as long as all else
        for path in files.paths:
            listing[files.prefix + str(path).removeprefix(root)] = cache.digest(path, files.digest)
    return listing


def digest_of(listing: Mapping[str, str]) -> str:
    """One digest for all files of a listing."""
    return hashlib.sha256(_text(listing).encode()).hexdigest()[:32]


def write_listing(folder: Path, listing: Mapping[str, str]) -> None:
    """Keep a listing under its digest, so that a later difference can be named."""
    path = _listing_path(folder, digest_of(listing))
    if not path.is_file():
        write_atomically(path, lambda file: file.write(_text(listing).encode()))


def read_listing(folder: Path, digest: str) -> dict[str, str] | None:
    """The listing with this digest; None if it was not kept."""
    path = _listing_path(folder, digest)
    if not path.is_file():
        return None
    lines = (line.partition(" ") for line in path.read_text(encoding="utf-8").splitlines())
    return {name: found for found, _, name in lines}


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The files whose digests differ, in words: `a.png changed`, `b.png is missing`, `c.png is new`."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, ABSENT), now.get(name, ABSENT)
        if old != new:
            what = "is missing" if new == ABSENT else "is new" if old == ABSENT else "changed"
            found.append(f"{name} {what}")
    return found


def _text(listing: Mapping[str, str]) -> str:
    return "".join(f"{digest} {name}\n" for name, digest in sorted(listing.items()))


def _listing_path(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.txt"
