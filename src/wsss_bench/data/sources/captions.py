"""Own image-text pairs: images with a table of captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss_bench.artifacts.images import read_image
from wsss_bench.data.sources.base import Source, expand_root, require_folder, require_ids, require_inside
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.data.sources.tables import read_table


class CaptionTable(Source):
    """Images of any common format, and a csv file of their captions.

    On disk: `<images>/<file>`; `<table>` with the columns `image` (file name), `caption` and optionally
    `split`. An image with several rows has several captions. An image id is the file name without suffix.
    Without a column `split` all images are `train`. There are no classes, labels or masks. The table is kept
    in memory, about 0.5 kB per row: for more than a few million pairs use tar shards (`WebDataset`).

    Args:
        root: Folder that the other paths are relative to; environment variables are expanded.
        images: Folder of images.
        table: Table of captions.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: a table without these columns, or a row without a caption.
    """

    class_names = ()

    def __init__(self, root: str | Path, images: str = "images", table: str = "captions.csv") -> None:
        self.root = expand_root(root)
        self._images = require_folder(self.root, images, "CaptionTable")
        self._table = self.root / table
        self._files: dict[str, str] = {}
        self._captions: dict[str, list[str]] = {}
        self._splits: dict[str, list[str]] = {}
        self._read_table()

    def ids(self, split: str) -> list[str]:
        if split not in self._splits:
            raise ValueError(
                f"{self._table} has no split {split!r}; splits there: {', '.join(self._splits) or 'none'}. "
                "They are the values of its column `split`; without that column all images are `train`"
            )
        return require_ids(self._splits[split], split, self._table)

    def image(self, image_id: str) -> np.ndarray:
        return read_image(self.image_file(image_id))

    def image_file(self, image_id: str) -> Path:
        return self._images / self._files[image_id]

    def labels(self, image_id: str) -> np.ndarray:
        raise ValueError(f"{type(self).__name__} has captions only; set `data.view: caption`")

    def mask(self, image_id: str) -> np.ndarray:
        raise ValueError(f"{type(self).__name__} has captions only; set `data.view: caption`")

    def captions(self, image_id: str) -> tuple[str, ...]:
        return tuple(self._captions[image_id])

    def files(self, split: str, part: str) -> list[FileSet]:
        """The captions are in the table, which is the list, too."""
        if part == "lists":
            return [FileSet(self.root, [self._table])]
        if part == "images":
            return [
                FileSet(self._images, [self.image_file(image_id) for image_id in self.ids(split)], by_size)
            ]
        return []

    def _read_table(self) -> None:
        without_caption = []
        split_of: dict[str, str] = {}
        for row in read_table(self._table, "caption"):
            name, caption = require_inside(row.image, row.where), " ".join(row.value.split())
            image_id = row.image_id
            if not caption:
                without_caption.append(row.where.rpartition(" ")[2])
            elif self._files.setdefault(image_id, name) != name:
                raise ValueError(
                    f"{row.where}: {name!r} and {self._files[image_id]!r} have the same id; rename one"
                )
            else:
                if image_id not in self._captions:
                    self._splits.setdefault(row.split, []).append(image_id)
                    split_of[image_id] = row.split
                elif split_of[image_id] != row.split:
                    raise ValueError(
                        f"{row.where}: {name!r} is of split {row.split!r}, in an earlier row of "
                        f"{split_of[image_id]!r}; an image belongs to one split"
                    )
                self._captions.setdefault(image_id, []).append(caption)
        if without_caption:
            lines = ", ".join(without_caption[:5])
            raise ValueError(
                f"{self._table} has {len(without_caption)} rows without a caption (line {lines}, ...); fill "
                "them or remove them"
            )
