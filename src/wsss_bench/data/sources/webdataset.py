"""Image-text pairs in tar shards, as img2dataset writes CC3M and CC12M.

Each shard is indexed once: the index has the position of every image and text in the file. Pairs are then
read in any order with the same sampler as all other data sets: shuffling is exact, an interrupted run can be
resumed, and no two ranks get the same pair. The price is one disk seek per pair, where a stream of shards is
read sequentially.
"""

from __future__ import annotations

import hashlib
import tarfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from rich.console import Console
from rich.progress import track

from wsss_bench.artifacts.files import write_atomically
from wsss_bench.artifacts.images import Unreadable, decode_image
from wsss_bench.artifacts.npz import read_arrays
from wsss_bench.data.sources.base import Source, expand_root
from wsss_bench.data.sources.files import FileSet, by_size

IMAGES = ("jpg", "jpeg", "png", "webp")
TEXT = "txt"
BLOCK = 512  # size of a tar header in bytes


class ShardIndex(NamedTuple):
    """Positions of the pairs of one shard."""

    keys: np.ndarray  # (n,) bytes
    image: np.ndarray  # (n, 2) int64: first byte and number of bytes
    text: np.ndarray  # (n, 2) int64
    left_out: np.ndarray  # (k,) str: entries that are not a pair, and why


class WebDataset(Source):
    """Image-text pairs in tar shards.

    On disk: shards with consecutive members `<key>.jpg` (or .jpeg, .png, .webp) and `<key>.txt`; other
    members, such as `<key>.json`, are skipped. An image id is `<shard>:<key>`. There are no classes, labels
    or masks, and one split, `train`. Entries without image or text, and the rest of a shard that is cut off,
    are left out; they are listed in `left_out` and give a warning. The index of a shard is stored, and
    computed again when the shard changes.

    Args:
        root: Folder that the others are relative to; environment variables are expanded.
        shards: Patterns of the tar files; each must match at least one file.
        index: Folder of the index.

    Raises:
        FileNotFoundError: a pattern without any match.
    """

    class_names = ()

    def __init__(self, root: str | Path, shards: Sequence[str] = ("*.tar",), index: str = ".index") -> None:
        self.root = expand_root(root)
        self.index = self.root / expand_root(index)
        found = {pattern: sorted(self.root.glob(pattern)) for pattern in shards}
        if empty := [pattern for pattern, paths in found.items() if not paths]:
            raise FileNotFoundError(
                f"no shard matches {', '.join(map(repr, empty))} in root={str(self.root)!r}; point "
                "`data.source.init_args` (root, usually by the environment variable WSSS_DATA, and "
                "shards) at the tar files"
            )
        paths = sorted({path for group in found.values() for path in group})
        self._paths = {path.relative_to(self.root).with_suffix("").as_posix(): path for path in paths}

    @property
    def left_out(self) -> list[str]:
        """Entries of the shards that are not a pair, and why, one sentence each."""
        return self._table.left_out

    # a list of twelve million ids would take a gigabyte
    def ids(self, split: str) -> Sequence[str]:  # type: ignore[override]
        if split != "train":
            raise ValueError(f"{type(self).__name__} has no split {split!r}; its only split is train")
        return self._table

    def image(self, image_id: str) -> np.ndarray:
        return decode_image(BytesIO(self._read(image_id, self._table.image)), f"{image_id} in {self.root}")

    def labels(self, image_id: str) -> np.ndarray:
        raise ValueError(f"{type(self).__name__} has captions only; set `data.view: caption`")

    def mask(self, image_id: str) -> np.ndarray:
        raise ValueError(f"{type(self).__name__} has captions only; set `data.view: caption`")

    def captions(self, image_id: str) -> tuple[str, ...]:
        try:
            sentence = " ".join(self._read(image_id, self._table.text).decode().split())
        except UnicodeDecodeError as error:
            raise Unreadable(f"the text of {image_id} in {self.root} is not UTF-8 ({error})") from error
        if not sentence:
            raise Unreadable(f"the text of {image_id} in {self.root} is empty")
        return (sentence,)

    def files(self, split: str, part: str) -> list[FileSet]:
        """The index of the shards, with the place of each image and text in them, and their sizes."""
        if part == "lists":
            return [FileSet(self.root, self._paths.values(), self.index_digest)]
        return [FileSet(self.root, self._paths.values(), by_size)] if part == "images" else []

    def index_digest(self, path: Path) -> str:
        """Digest of the index of a shard."""
        index = self._shard_index(path.relative_to(self.root).with_suffix("").as_posix(), path)
        digest = hashlib.sha256()
        for name, field in index._asdict().items():
            digest.update(f"{name} {field.dtype.str} {field.shape}".encode() + field.tobytes())
        return digest.hexdigest()[:32]

    @cached_property
    def _table(self) -> _Table:
        shown = track(
            self._paths.items(),
            "shards",
            transient=True,
            console=Console(stderr=True),
            disable=len(self._paths) < 10,
        )
        table = _Table({name: self._shard_index(name, path) for name, path in shown})
        if not len(table):
            raise ValueError(
                f"the {len(self._paths)} shards in {self.root} hold no pair of an image and a text; first: "
                f"{'; '.join(table.left_out[:3]) or 'no members'}"
            )
        if table.left_out:
            counts = Counter(sentence.rpartition(": ")[2] for sentence in table.left_out)
            reasons = ", ".join(f"{count} x {reason}" for reason, count in counts.most_common())
            warnings.warn(
                f"{self.root}: {len(table)} pairs in {len(self._paths)} shards; left out: {reasons} "
                f"(first {table.left_out[0]})",
                stacklevel=2,
            )
        return table

    def _shard_index(self, name: str, path: Path) -> ShardIndex:
        """The stored index of a shard, or a new one."""
        stored = self.index / f"{name}.npz"
        stat = path.stat()
        version = np.array([stat.st_size, stat.st_mtime_ns])
        try:
            known = read_arrays(stored)
            if np.array_equal(known["version"], version):
                return ShardIndex(*(known[field] for field in ShardIndex._fields))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
            pass  # there is none, or it was cut off
        index = index_shard(path, name)
        try:
            write_atomically(stored, lambda file: np.savez(file, version=version, **index._asdict()))
        except OSError as error:
            raise OSError(
                f"the index of {path} cannot be written to {stored} ({error.strerror}); set "
                "`data.source.init_args.index` to a folder that can be written"
            ) from error
        return index

    def _read(self, image_id: str, positions: np.ndarray) -> bytes:
        name, _, key = image_id.partition(":")
        first, size = positions[self._table.find(name, key)].tolist()
        with self._paths[name].open("rb") as file:
            file.seek(first)
            content = file.read(size)
        if len(content) < size:
            raise Unreadable(f"{image_id} in {self.root} ends after {len(content)} of {size} bytes")
        return content


class _Table(Sequence[str]):
    """Ids and positions of all pairs, about 41 bytes each; the string of an id is made on access."""

    def __init__(self, shards: dict[str, ShardIndex]) -> None:
        self.left_out = [sentence for shard in shards.values() for sentence in shard.left_out.tolist()]
        self._names = list(shards)
        self._number = {name: number for number, name in enumerate(self._names)}
        self._starts = np.cumsum([0, *(len(shard.keys) for shard in shards.values())])
        self._keys = np.concatenate([shard.keys for shard in shards.values()])
        self.image = np.concatenate([shard.image for shard in shards.values()])
        self.text = np.concatenate([shard.text for shard in shards.values()])

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        shard = int(np.searchsorted(self._starts, position, side="right")) - 1
        return f"{self._names[shard]}:{self._keys[position].decode()}"

    def find(self, name: str, key: str) -> int:
        """Index of the pair `key` of a shard in the table."""
        shard = self._number[name]
        start, end = self._starts[shard : shard + 2]
        return int(start + np.flatnonzero(self._keys[start:end] == key.encode())[0])


def index_shard(path: Path, name: str) -> ShardIndex:
    """Index a tar file by reading its headers.

    Args:
        path: Uncompressed tar file.
        name: Name of the shard in `left_out`.
    """
    pairs: dict[str, tuple[tarfile.TarInfo, tarfile.TarInfo]] = {}
    left_out: list[str] = []
    members = _Members(path)
    for key, parts in _groups(members):
        image = next((parts[suffix] for suffix in IMAGES if suffix in parts), None)
        if image is None or TEXT not in parts:
            left_out.append(f"{name}:{key}: {'no image' if image is None else 'no text'}")
        elif key in pairs:
            left_out.append(f"{name}:{key}: duplicate key")
        else:
            pairs[key] = image, parts[TEXT]
    if members.damage:
        left_out.append(f"{name}: {members.damage}")
    positions = np.array(
        [[(part.offset_data, part.size) for part in pair] for pair in pairs.values()], np.int64
    ).reshape(-1, 2, 2)
    keys = np.array([key.encode() for key in pairs]) if pairs else np.array([], "S1")
    return ShardIndex(keys, positions[:, 0], positions[:, 1], np.array(left_out, np.str_))


class _Members:
    """Iterates over the files of a tar in order. If it ends early, `damage` has the reason afterwards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        size = self.path.stat().st_size
        try:
            with tarfile.open(self.path, "r:") as tar:
                for member in tar:
                    if member.offset_data + member.size > size:
                        break
                    if member.isfile():
                        yield member
                # tarfile stops at a broken header without error; a complete file ends with a block of zeros
                with self.path.open("rb") as file:
                    file.seek(tar.offset)  # type: ignore[attr-defined]
                    whole = file.read(BLOCK) == bytes(BLOCK)
        except tarfile.TarError:
            whole = False
        if not whole:
            self.damage = "shard broken or cut off, read up to there"


def _groups(members: _Members) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Groups of consecutive members with the same key, by suffix.

    The key is the path of the member up to the first dot of its file name.
    """
    current, parts = "", dict[str, tarfile.TarInfo]()
    for member in members:
        folder, slash, file = member.name.rpartition("/")
        stem, _, suffix = file.partition(".")
        key = f"{folder}{slash}{stem}"
        if key != current and parts:
            yield current, parts
            parts = {}
        current = key
        parts[suffix.lower()] = member
    if parts:
        yield current, parts
