"""Where exported files go: a folder, or a tar file with the same bytes for the same content."""

from __future__ import annotations

import os
import secrets
import shutil
import tarfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from gzip import GzipFile
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from wsss_bench.artifacts.files import write_atomically, write_bytes

Members = Iterable[tuple[str, bytes]]
"""Name, with `/` between folders, and content of each file."""
COMPRESSED = (".tar.gz", ".tgz")


def is_tar(path: Path) -> bool:
    """Whether a path names a tar file."""
    return path.name.endswith((".tar", *COMPRESSED))


def write_tar(path: Path, members: Members) -> None:
    """Write a tar file, compressed if its name says so; if `members` raises an error, nothing is written."""

    def write(file: IO[bytes]) -> None:
        stream: AbstractContextManager[Any] = nullcontext(file)
        if path.name.endswith(COMPRESSED):
            stream = GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
        with stream as content, tarfile.open(fileobj=content, mode="w") as archive:
            for name, data in members:
                entry = tarfile.TarInfo(name)  # of nobody, and as old as time, so that equal files are equal
                entry.size = len(data)
                archive.addfile(entry, BytesIO(data))

    write_atomically(path, write)


def write_folder(path: Path, members: Members) -> None:
    """Write a folder, which appears when all files are in it.

    Raises:
        ValueError: it exists and is not empty.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not an empty folder; name a new one, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        for name, data in members:
            write_bytes(unfinished / name, data)
        os.replace(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
