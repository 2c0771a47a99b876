"""Members of tar and zip files: listed before anything is written, then read one after the other.

No archive is unpacked by its library. A member is read into memory, and written to a place that a rule of
the data set names, so its own path, owner and mode have no effect.
"""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import numpy as np

Content = bytes | np.ndarray
"""Bytes of a file, or a mask `(H, W)` uint8."""
BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error)


class Member(NamedTuple):
    """A member of an archive; folders are left out."""

    name: str  # with `/`, without `./` before it
    size: int | None  # bytes; None for a mask that is made when it is read
    is_file: bool = True  # False for links and devices


class Members(Protocol):
    """An archive that is open for reading."""

    path: Path

    def members(self) -> list[Member]:
        """All members in the order of the archive."""
        ...

    def read(self, names: Collection[str]) -> Iterator[tuple[str, Content]]:
        """The members of these names with their contents, in the order of the archive."""
        ...


class TarMembers:
    """A tar file, compressed or not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        with _named_if_broken(self.path), tarfile.open(self.path) as tar:
            return [Member(_plain(info.name), info.size, info.isreg()) for info in tar if not info.isdir()]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, Content]]:
        left = len(names)
        with _named_if_broken(self.path), tarfile.open(self.path) as tar:
            for info in tar:
                if not left:
                    return
                if not info.isreg() or _plain(info.name) not in names:
                    continue
                file = tar.extractfile(info)
                assert file is not None  # which only a folder or a device has not
                yield _plain(info.name), file.read()
                left -= 1


class ZipMembers:
    """A zip file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        with _named_if_broken(self.path), zipfile.ZipFile(self.path) as archive:
            return [
                Member(_plain(info.filename), info.file_size, _is_file(info))
                for info in archive.infolist()
                if not info.is_dir()
            ]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, Content]]:
        with _named_if_broken(self.path), zipfile.ZipFile(self.path) as archive:
            for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
                if _plain(info.filename) in names and not info.is_dir():
                    yield _plain(info.filename), archive.read(info)  # which compares its CRC


def leads_out(name: str) -> bool:
    """Whether the name of a member is absolute or leads out of the folder that it is unpacked in."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return name.startswith(("/", "\\")) or ".." in parts or re.match("[A-Za-z]:", name) is not None


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _is_file(info: zipfile.ZipInfo) -> bool:
    """Whether a zip member is a regular file. Archives of systems without modes have 0."""
    mode = stat.S_IFMT(info.external_attr >> 16)
    return mode in (0, stat.S_IFREG) and not info.flag_bits & 1  # 1: encrypted


@contextmanager
def _named_if_broken(path: Path) -> Iterator[None]:
    """Raise `ValueError` with the name of the archive for an error that says that it is broken."""
    try:
        yield
    except BROKEN as error:
        raise ValueError(
            f"{path} is broken ({error or 'it ends too early'}): a truncated download or no such archive; "
            "download it again"
        ) from error
