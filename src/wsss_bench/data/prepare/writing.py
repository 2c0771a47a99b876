"""Writes a file once: what is there already and equal is kept, and what differs is never overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss_bench.artifacts.files import read_mask, write_bytes, write_mask
from wsss_bench.data.prepare.members import Content


class OtherContent(ValueError):
    """A file of the same name with other content is in the way."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is there already with other content; nothing is overwritten. Remove or rename it, or "
            "choose another --root, and run the same command again"
        )


def store(path: Path, content: Content) -> None:
    """Write a file, atomically; masks as indexed PNGs with the palette of VOC.

    Raises:
        OtherContent: the file exists with other bytes, or other values of a mask.
    """
    if not path.exists():
        if isinstance(content, bytes):
            write_bytes(path, content)
        else:
            write_mask(path.parent, path.stem, content)
    elif not path.is_file() or not _equal(path, content):
        raise OtherContent(path)


def _equal(path: Path, content: Content) -> bool:
    if isinstance(content, bytes):
        return path.stat().st_size == len(content) and path.read_bytes() == content
    return np.array_equal(read_mask(path), content)
