"""Own data: a folder of images with a table of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss_bench.artifacts.files import file_names
from wsss_bench.artifacts.images import read_image
from wsss_bench.data.sources.base import (
    Source,
    expand_root,
    nearest_names,
    read_checked_mask,
    require_folder,
    require_ids,
)
from wsss_bench.data.sources.class_lists import read_class_list
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.data.sources.tables import read_table


class Folder(Source):
    """Images of any common format, labels from a csv file, masks optional.

    On disk: `<images>/<file>`; `<labels>` with the columns `image` (file name), `classes` (names separated by
    `;`, empty for an image without classes) and optionally `split`; `<classes>` with one class name per line,
    in label order; `<masks>/<id>.png`. An image id is the file name without suffix; folders below `<images>`
    are part of it. Without a column `split` all images are `train`.

    Args:
        root: Folder that the other paths are relative to; environment variables are expanded.
        images: Folder of images.
        labels: Table of labels.
        classes: List of class names.
        masks: Folder of masks, needed for evaluation and full supervision only.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: a row of the table with an unknown class or image.
    """

    def __init__(
        self,
        root: str | Path,
        images: str = "images",
        labels: str = "labels.csv",
        classes: str = "classes.txt",
        masks: str | None = None,
    ) -> None:
        self.root = expand_root(root)
        self._images = require_folder(self.root, images, "Folder")
        self._masks = None if masks is None else require_folder(self.root, masks, "Folder")
        self._table = self.root / labels
        self._classes = self.root / classes
        self.class_names = read_class_list(self._classes)
        self._files: dict[str, str] = {}
        self._labels: dict[str, np.ndarray] = {}
        self._splits: dict[str, list[str]] = {}
        self._read_table()

    def ids(self, split: str) -> list[str]:
        if split not in self._splits:
            raise ValueError(
                f"{self._table} has no split {split!r}; splits there: {', '.join(self._splits) or 'none'}. "
                "They are the values of its column `split`; without that column all images are `train`"
            )
        return require_ids(list(self._splits[split]), split, self._table)

    def image(self, image_id: str) -> np.ndarray:
        return read_image(self._image_path(image_id))

    def labels(self, image_id: str) -> np.ndarray:
        return self._labels[image_id].copy()

    def mask(self, image_id: str) -> np.ndarray:
        if self._masks is None:
            raise FileNotFoundError(
                f"no masks are configured for {self.root}, but image {image_id!r} needs one for evaluation "
                "or full supervision; set `data.source.init_args.masks` to a folder of <id>.png"
            )
        path = self._mask_path(self._masks, image_id)
        return read_checked_mask(path, self._image_path(image_id), len(self.class_names))

    def files(self, split: str, part: str) -> list[FileSet]:
        """The labels are in the table, which is one of the lists."""
        if part == "lists":
            return [FileSet(self.root, [self._table, self._classes])]
        if part == "images":
            return [
                FileSet(self._images, [self._image_path(image_id) for image_id in self.ids(split)], by_size)
            ]
        if part == "masks" and self._masks is not None:
            masks = [self._mask_path(self._masks, image_id) for image_id in self.ids(split)]
            return [FileSet(self._masks, masks)]
        return []

    def _mask_path(self, folder: Path, image_id: str) -> Path:
        return folder / f"{image_id}.png"

    def _image_path(self, image_id: str) -> Path:
        return self._images / self._files[image_id]

    def _read_table(self) -> None:
        on_disk = file_names(self._images)
        for row in read_table(self._table, "classes"):
            if row.image not in on_disk:
                raise ValueError(
                    f"{row.where}: no image {row.image!r} in {self._images}; a file name with suffix is "
                    "expected"
                )
            # VOC has a class `train`
            if row.split in self.class_names and row.split != "train":
                raise ValueError(
                    f"{row.where}: the split is {row.split!r}, which is a class; several classes are "
                    "separated by semicolons, not by commas"
                )
            image_id = str(Path(row.image).with_suffix(""))
            if image_id in self._files:
                raise ValueError(
                    f"{row.where}: a second row or file for image {image_id!r}; keep one of each"
                )
            self._files[image_id] = row.image
            self._labels[image_id] = self._multi_hot(row.value, row.where)
            self._splits.setdefault(row.split, []).append(image_id)

    def _multi_hot(self, classes: str, where: str) -> np.ndarray:
        labels = np.zeros(len(self.class_names), np.float32)
        for name in filter(None, (part.strip() for part in classes.split(";"))):
            if name not in self.class_names:
                hint = nearest_names(name, self.class_names)
                if set(name.replace(",", " ").split()) <= set(self.class_names):
                    hint = "its words are classes: separate them by semicolons"
                raise ValueError(
                    f"{where}: unknown class {name!r} ({hint}); correct the row or add the class to the list "
                    "of classes"
                )
            labels[self.class_names.index(name)] = 1.0
        return labels
