"""Reading of npz files that come from elsewhere: without pickles, and only as much as they may hold."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

LARGEST = 2**30
"""Bytes that the arrays of one file may take in memory. A seed of ten classes at 24 megapixels has half."""


def read_arrays(path: Path | str, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays of an npz file.

    The sizes are known before the first array is read: a zip entry is never decompressed beyond the size that
    the directory of the file gives for it, and the header of an array must claim exactly that size. So a
    small file cannot fill the memory.

    Args:
        path: The file.
        names: Arrays to read, those that the file has; None for all of them.

    Raises:
        OSError, zipfile.BadZipFile, zlib.error, ValueError: not such a file, a damaged one, one with Python
            objects, or one whose arrays take more than `LARGEST`.
    """
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        wanted = {name: entries[name] for name in entries if names is None or name in names}
        total = sum(entry.file_size for entry in wanted.values())
        if total > LARGEST:
            raise ValueError(f"its arrays take {total / 2**20:.0f} MiB, more than {LARGEST / 2**20:.0f} MiB")
        for name, entry in wanted.items():
            _check_header(archive, entry, name)
        arrays: dict[str, np.ndarray] = {}
        for name, entry in wanted.items():
            with archive.open(entry) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
        return arrays


def _check_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> None:
    """Raise `ValueError` if an array does not have the size that its header claims."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        claimed, found = math.prod(shape) * dtype.itemsize, entry.file_size - file.tell()
    if dtype.hasobject:
        raise ValueError(f"its array {name!r} holds Python objects, which are never read")
    if claimed != found:
        raise ValueError(f"the header of its array {name!r} claims {claimed} bytes, the file has {found}")
