"""The index of an annotation file: what was read of a json, kept so that it is parsed and checked once.

The json of COCO's training split has 330 MB. Its index is two files, named after the digest of the json:

- `<name>.npz`: a header and columns of numbers, which are read as a whole (20 MB);
- `<name>.bin`: one piece of bytes for each image, which are read one at a time.

They lie in `.index` beside the json, or, where that cannot be written, in the user's cache folder
(`$XDG_CACHE_HOME/wsss_bench`, by default `~/.cache/wsss_bench`). Several processes may make the same index:
the last one wins, with the same content. A damaged index is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsss_bench.artifacts.files import write_atomically
from wsss_bench.artifacts.npz import read_arrays
from wsss_bench.data.sources.files import DigestCache, by_content

FOLDER = ".index"
FORMAT = 1
"""Part of the names. A new number makes every index again: after a change of what is read, or checked."""
_HEADER, _START, _CHECKSUM = "header", "piece_start", "piece_checksum"


class Parsed(NamedTuple):
    """What was read of an annotation file.

    Args:
        header: JSON.
        columns: Arrays of numbers.
        pieces: Bytes that belong to one image each.
    """

    header: dict[str, Any]
    columns: dict[str, np.ndarray]
    pieces: Sequence[bytes]


class AnnotationIndex:
    """Header and columns of an annotation file in memory, and the pieces of single images on request.

    Args:
        parsed: What was read; the pieces stay in memory only where no folder for an index could be written.
        file: The file of the pieces, without `.bin`; None for those in memory.
        again: Makes the index again.
    """

    def __init__(self, parsed: Parsed, file: Path | None, again: Callable[[], AnnotationIndex]) -> None:
        self.header, self.columns, self._pieces = parsed
        self._file = file
        self._again = again

    def piece(self, position: int) -> bytes:
        """The piece of the image at `position`; a damaged index is made again.

        Raises:
            ValueError: the index is damaged, and the json is not the one that it was made from.
        """
        piece = self._read_piece(position)
        if piece is None:
            self._make_again()
            piece = self._read_piece(position)
        if piece is None:
            raise ValueError(f"{self._file}.bin is damaged, and cannot be made again; remove it")
        return piece

    def _read_piece(self, position: int) -> bytes | None:
        """None if the file is gone, or not as it was written."""
        if self._file is None:
            return self._pieces[position]
        start, end = (int(byte) for byte in self.columns[_START][position : position + 2])
        try:
            with open(_bin(self._file), "rb") as file:
                file.seek(start)
                content = file.read(end - start)
        except OSError:
            return None
        return content if zlib.crc32(content) == self.columns[_CHECKSUM][position] else None

    def _make_again(self) -> None:
        """Make the index again in the middle of a run."""
        if self._file is not None:
            with suppress(OSError):  # of another user
                _npz(self._file).unlink(missing_ok=True)
                _bin(self._file).unlink(missing_ok=True)
        new = self._again()
        same = self.header == new.header and all(
            np.array_equal(column, new.columns.get(name, column)) for name, column in self.columns.items()
        )
        if not same:
            raise ValueError("annotations were changed while they were in use; run the same command again")
        self.columns, self._pieces, self._file = new.columns, new._pieces, new._file


def index_of(
    path: Path,
    kind: str,
    parse: Callable[[], Parsed],
    is_current: Callable[[Parsed], bool] = lambda parsed: True,
) -> AnnotationIndex:
    """The index of an annotation file: the one that was kept for its content, or a new one.

    Args:
        path: The json, which exists.
        kind: What is read of it, for the name.
        parse: Reads and checks it.
        is_current: Whether a kept index is still right, for what it depends on besides the json.
    """
    again = partial(index_of, path, kind, parse, is_current)
    folders = (path.parent / FOLDER, _user_folder(path.parent))
    digest = _digest(path, folders)
    stem = f"{path.stem}-{kind}-{FORMAT}-"
    for folder in folders:
        kept = _read(folder / f"{stem}{digest}")
        if kept is not None and is_current(kept):
            return AnnotationIndex(kept, folder / f"{stem}{digest}", again)
    parsed = parse()
    if _digest(path, folders) == digest:  # the file did not change while it was parsed
        for folder in folders:
            with suppress(OSError):  # a folder that cannot be written, or a full disk
                _write(folder / f"{stem}{digest}", parsed)
                _remove_others(folder, stem, digest)
                if (kept := _read(folder / f"{stem}{digest}")) is not None:
                    return AnnotationIndex(kept, folder / f"{stem}{digest}", again)
    return AnnotationIndex(parsed, None, again)


def _digest(path: Path, folders: Iterable[Path]) -> str:
    """Digest of the content, computed once for each state of the file."""
    caches = [DigestCache(folder) for folder in folders]
    for cache in caches:
        if (known := cache.known(path, by_content)) is not None:
            return known
    for cache in caches:
        digest = cache.digest(path, by_content)
        with suppress(OSError):
            cache.save()
            break
    return digest


def _user_folder(annotations: Path) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    place = hashlib.sha256(str(annotations.absolute()).encode()).hexdigest()[:16]
    return cache / "wsss_bench" / place


def _read(file: Path) -> Parsed | None:
    """The index in these files, without the pieces; None if there is none, or if it is damaged."""
    try:
        columns = read_arrays(_npz(file))
        header = json.loads(columns.pop(_HEADER).tobytes())
        if _bin(file).stat().st_size != columns[_START][-1]:
            return None
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error):
        return None
    return Parsed(header, columns, ())


def _write(file: Path, parsed: Parsed) -> None:
    """Write the pieces, then what tells where they are."""
    columns = {
        **parsed.columns,
        _HEADER: np.frombuffer(json.dumps(parsed.header).encode(), np.uint8),
        _START: np.cumsum([0, *map(len, parsed.pieces)], dtype=np.int64),
        _CHECKSUM: np.array([zlib.crc32(piece) for piece in parsed.pieces], np.uint32),
    }
    write_atomically(_bin(file), lambda target: target.writelines(parsed.pieces))
    write_atomically(_npz(file), lambda target: np.savez(target, **columns))  # type: ignore[arg-type]


def _remove_others(folder: Path, stem: str, digest: str) -> None:
    """Remove the index of an earlier content of the same json."""
    for other in folder.iterdir():
        if other.name.startswith(stem) and digest not in other.name:
            other.unlink(missing_ok=True)


def _npz(file: Path) -> Path:
    return file.with_name(f"{file.name}.npz")


def _bin(file: Path) -> Path:
    return file.with_name(f"{file.name}.bin")
