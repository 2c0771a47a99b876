"""Records of many images in few files, to which records are only appended.

A shard `<rank>-<number>.seeds`, or `.probabilities`, is a row of records, each of

| bytes | content |
|---|---|
| 12 | `WSSS`, length of the header, crc32 of the header (little-endian) |
| header | JSON: `id`, facts of the record, and `parts`: `[name, bytes, crc32]` of each |
| parts | one after the other |

Each process of a stage writes shards of its own. If it is killed, its last record may be cut off: that does
not count, and the next process of this rank removes it and goes on behind the one before. What is read is
checked against its checksum.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple

SEEDS_SUFFIX, PROBABILITIES_SUFFIX = SUFFIXES = (".seeds", ".probabilities")
SHARD_BYTES = 64 * 2**20
"""Size from which on the next record begins another shard: what is made again if a shard is damaged."""
_START = struct.Struct("<4sII")
_MAGIC = b"WSSS"
_MOST_HEADER = 2**16
_FIRST_READ = 512
"""Bytes that are read at once: most headers are shorter."""


class Record(NamedTuple):
    """Where a record is."""

    path: Path
    offset: int  # of its first byte
    parts: int  # offset of its first part
    end: int  # offset behind its last byte

    def read(self, names: Collection[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The header, and those of the named parts that the record has.

        Raises:
            OSError, ValueError: a part is missing or is not the one that was written.
        """
        found: dict[str, bytes] = {}
        with open(self.path, "rb", buffering=0) as file:
            offset = self.parts
            content = os.pread(file.fileno(), self.parts - self.offset, self.offset)
            header: dict[str, Any] = json.loads(content[_START.size :])
            for name, size, checksum in header["parts"]:
                if name in names:
                    content = os.pread(file.fileno(), size, offset)
                    if len(content) != size or zlib.crc32(content) != checksum:
                        raise ValueError(f"{name} of {header['id']!r} is damaged: its checksum differs")
                    found[name] = content
                offset += size
        return header, found


class ShardWriter:
    """Appends records to the shards of one process.

    Args:
        folder: Folder of the shards; made with the first record.
        rank: Rank of the process: no two write the same shard.
        suffix: End of the names of its shards.
    """

    def __init__(self, folder: Path, rank: int = 0, suffix: str = SEEDS_SUFFIX) -> None:
        self.folder = folder
        self.rank = rank
        self.suffix = suffix
        self._numbers = count()
        self._file: IO[bytes] | None = None
        self._end = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, image_id: str, facts: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
        """Append a record. When this returns, a process that is killed has not lost it.

        Args:
            image_id: Id of the image; a later record of the same id replaces an earlier one.
            facts: Further content of the header, in JSON types.
            parts: The parts by name.
        """
        table = [[name, len(content), zlib.crc32(content)] for name, content in parts.items()]
        header = json.dumps({"id": image_id, **facts, "parts": table}, separators=(",", ":")).encode()
        if len(header) > _MOST_HEADER:
            raise ValueError(
                f"the header of {image_id[:80]!r} has {len(header)} bytes; at most {_MOST_HEADER}"
            )
        file = (self._file or self._open_next()).fileno()
        start = _START.pack(_MAGIC, len(header), zlib.crc32(header))
        content = memoryview(b"".join([start, header, *parts.values()]))
        end = self._end + len(content)
        try:
            while content:
                content = content[os.write(file, content) :]
        except BaseException:
            os.ftruncate(file, self._end)
            os.lseek(file, self._end, os.SEEK_SET)
            raise
        self._end = end
        if end >= SHARD_BYTES:
            self.close()

    def close(self) -> None:
        """Bring all records to the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _open_next(self) -> IO[bytes]:
        """The first shard of this rank that is not full, without a last record that was cut off."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in self._numbers:
            path = self.folder / f"{self.rank}-{number:05}{self.suffix}"
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another process of this rank is not quite dead
                file.close()
                continue
            end = max((record.end for _, record in _records(path)), default=0)
            if end >= SHARD_BYTES:
                file.close()
                continue
            os.ftruncate(file.fileno(), end)
            file.seek(end)
            self._file, self._end = file, end
            return file
        raise AssertionError


def find_records(folder: Path) -> Mapping[str, list[Record]]:
    """The whole records of a folder by id, the latest first; a folder that does not exist has none.

    Only headers are read, and again only when files of the folder have changed.
    """
    try:
        with os.scandir(folder) as entries:
            shards = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(SUFFIXES)]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    state = tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in shards))
    return _find_records(folder.absolute(), state)


def record_sizes(folder: Path) -> list[tuple[str, int]]:
    """Ids and bytes of the records of a folder, sorted: they do not depend on how images share the shards."""
    return sorted((name, found[0].end - found[0].offset) for name, found in find_records(folder).items())


@lru_cache(maxsize=32)
def _find_records(folder: Path, state: tuple[tuple[str, int, int], ...]) -> Mapping[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for name, _, _ in state:
        for image_id, record in _records(folder / name):
            found.setdefault(image_id, []).insert(0, record)
    return found


def _records(path: Path) -> Iterator[tuple[str, Record]]:
    """Ids and records of a shard, up to the first that is cut off or has a damaged header."""
    with open(path, "rb", buffering=0) as file:
        size, offset = os.fstat(file.fileno()).st_size, 0
        while found := _record_at(path, file.fileno(), offset, size):
            yield found
            offset = found[1].end


def _record_at(path: Path, file: int, offset: int, size: int) -> tuple[str, Record] | None:
    content = os.pread(file, _FIRST_READ, offset)
    if len(content) < _START.size:
        return None
    magic, length, checksum = _START.unpack_from(content)
    if magic != _MAGIC or length > _MOST_HEADER:
        return None
    parts = offset + _START.size + length
    if parts - offset > len(content):
        content = os.pread(file, parts - offset, offset)
    header = content[_START.size : parts - offset]
    if len(header) < length or zlib.crc32(header) != checksum:
        return None
    try:
        found = json.loads(header)
        image_id, sizes = str(found["id"]), [int(part[1]) for part in found["parts"]]
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    end = parts + sum(sizes)
    return (
        (image_id, Record(path, offset, parts, end)) if end <= size and min(sizes, default=0) >= 0 else None
    )
