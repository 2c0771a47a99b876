"""Confusion matrices of single images on disk (`confusions.npz`).

They are written and read as sparse entries, so that the matrices never stand in memory together. Arrays:

- `image_id` (n,): the images;
- for row i of `metrics.json`, the entries of the matrices that are not zero: `i/image` (N,) int32 (position
  in `image_id`), `i/gt` and `i/pred` (N,) uint8, `i/count` (N,) int32.

An image that a row leaves out (the held-out part) has no entry there.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np

from wsss_bench.artifacts.files import write_atomically
from wsss_bench.artifacts.layout import how_to_mend

_ENTRY = np.dtype([("image", "<i4"), ("gt", "u1"), ("pred", "u1"), ("count", "<i4")])
_BLOCK = 65536


class PerImageConfusions(NamedTuple):
    """The confusion matrices of one row of `metrics.json`, as sparse entries."""

    image_ids: list[str]
    num_classes: int  # K, background included
    image: np.ndarray  # (N,) int32 position in image_ids
    gt: np.ndarray  # (N,) uint8
    pred: np.ndarray  # (N,) uint8
    pixels: np.ndarray  # (N,) int32

    def class_sums(self) -> np.ndarray:
        """`(n, 3K)` float64: pixels that are right, true and predicted of each class, per image."""
        number, classes = len(self.image_ids), self.num_classes
        right = self.gt == self.pred

        def per_class(keep: np.ndarray | slice, which: np.ndarray) -> np.ndarray:
            cell = self.image[keep].astype(np.int64) * classes + which[keep]
            return np.bincount(cell, self.pixels[keep], number * classes).reshape(number, classes)

        everything = slice(None)
        return np.hstack(
            [per_class(right, self.gt), per_class(everything, self.gt), per_class(everything, self.pred)]
        )

    def select(self, image_ids: Sequence[str]) -> PerImageConfusions:
        """The same for some of the images, in the given order."""
        position = {name: index for index, name in enumerate(image_ids)}
        moved = np.array([position.get(name, -1) for name in self.image_ids], np.int32)[self.image]
        keep = moved >= 0
        return PerImageConfusions(
            list(image_ids), self.num_classes, moved[keep], self.gt[keep], self.pred[keep], self.pixels[keep]
        )


class ConfusionWriter:
    """Collects the matrices of single images in unnamed temporary files and packs them at the end.

    Args:
        rows: Number of rows of `metrics.json`.
        folder: Where the temporary files lie; they vanish with the process.
    """

    def __init__(self, rows: int, folder: Path | None = None) -> None:
        self._stack = ExitStack()
        files = (TemporaryFile(dir=folder) for _ in range(rows))  # noqa: SIM115 - closed by the stack
        self._files: list[IO[bytes]] = [self._stack.enter_context(file) for file in files]

    def __enter__(self) -> ConfusionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, row: int, image: int, matrix: np.ndarray) -> None:
        """Add the `(K, K)` matrix of the image at position `image` to a row."""
        gt, pred = np.nonzero(matrix)
        entries = np.empty(gt.size, _ENTRY)
        entries["image"], entries["gt"], entries["pred"], entries["count"] = image, gt, pred, matrix[gt, pred]
        self._files[row].write(entries.tobytes())

    def save(self, path: Path, image_ids: Sequence[str]) -> None:
        """Write `confusions.npz`. Equal content gives equal bytes."""
        write_atomically(path, lambda file: self._pack(file, image_ids))

    def _pack(self, target: IO[bytes], image_ids: Sequence[str]) -> None:
        width = np.dtype(f"<U{max((len(name) for name in image_ids), default=1)}")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
            starts = range(0, len(image_ids), _BLOCK)
            blocks = (np.array(image_ids[start : start + _BLOCK], width) for start in starts)
            _write_array(archive, "image_id", width, len(image_ids), blocks)
            for row, file in enumerate(self._files):
                number = file.tell() // _ENTRY.itemsize
                for name in ("image", "gt", "pred", "count"):
                    columns = (block[name] for block in _entries(file))
                    _write_array(archive, f"{row}/{name}", _ENTRY[name], number, columns)


def read_per_image(path: Path | str, row: int, num_classes: int) -> PerImageConfusions:
    """Read the matrices of one row of a `confusions.npz`; `num_classes` counts background.

    Raises:
        ValueError: the file is not readable, or has no such row.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = (file[f"{row}/{name}"] for name in ("image", "gt", "pred", "count"))
            return PerImageConfusions(file["image_id"].tolist(), num_classes, *columns)
    except Exception as error:  # zipfile, zlib, numpy or a missing key
        raise ValueError(
            f"{path} has no readable confusion matrices ({error}); {how_to_mend(path)}"
        ) from error


def _entries(file: IO[bytes]) -> Iterator[np.ndarray]:
    file.seek(0)
    while block := file.read(_BLOCK * _ENTRY.itemsize):
        yield np.frombuffer(block, _ENTRY)


def _write_array(
    archive: zipfile.ZipFile, name: str, kind: np.dtype[Any], number: int, blocks: Iterator[np.ndarray]
) -> None:
    member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: equal content, equal bytes
    member.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(member, "w", force_zip64=True) as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (number,)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block).tobytes())
