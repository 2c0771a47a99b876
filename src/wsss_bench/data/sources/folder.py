"""Own data: a folder of images with a table of labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from wsss_bench.artifacts.files import file_names
from wsss_bench.artifacts.images import read_image
from wsss_bench.data.sources.base import (
    Source,
    expand_root,
    nearest_names,
    read_checked_mask,
    read_sized_mask,
    require_folder,
    require_ids,
    require_known_values,
)
from wsss_bench.data.sources.class_lists import read_class_list
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.data.sources.tables import read_table
from wsss_bench.ranges import check_range


class Folder(Source):
    """Images of any common format, labels from a csv file, masks optional.

    On disk: `<images>/<file>`; `<labels>` with the columns `image` (file name), `classes` (names separated by
    `;`, or by commas in quotes; empty for an image without classes) and optionally `split`; `<classes>` with
    one class name per line, in label order; `<masks>/<id>.png`. An image id is the file name without suffix;
    folders below `<images>` are part of it. Without a column `split` all images are `train`.

    Args:
        root: Folder that the other paths are relative to, unless they are absolute; environment variables are
            expanded in all of them.
        images: Folder of images.
        labels: Table of labels.
        classes: List of class names.
        masks: Folder of masks, needed for evaluation and full supervision only.
        mask_values: What values in the files of masks mean, where they are no class indices: `{255: 1}` for
            masks of one class that paint the object as 255. Other values are what they are.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: a row of the table with an unknown class or image; `mask_values` outside 0..255.
    """

    def __init__(
        self,
        root: str | Path,
        images: str = "images",
        labels: str = "labels.csv",
        classes: str = "classes.txt",
        masks: str | None = None,
        mask_values: dict[int, int] | None = None,
    ) -> None:
        self.root = expand_root(root)
        self._images = require_folder(self.root, str(expand_root(images)), "Folder")
        self._masks = None if masks is None else require_folder(self.root, str(expand_root(masks)), "Folder")
        self._table = self.root / expand_root(labels)
        self._classes = self.root / expand_root(classes)
        self.class_names = read_class_list(self._classes)
        self._meaning = None if mask_values is None else _meanings(mask_values)
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
        return read_image(self.image_file(image_id))

    def image_file(self, image_id: str) -> Path:
        return self._images / self._files[image_id]

    def labels(self, image_id: str) -> np.ndarray:
        return self._labels[image_id].copy()

    def mask(self, image_id: str) -> np.ndarray:
        if self._masks is None:
            raise FileNotFoundError(
                f"no masks are configured for {self.root}, but image {image_id!r} needs one for evaluation "
                "or full supervision; set `data.source.init_args.masks` to a folder of <id>.png"
            )
        path, image_path = self._masks / f"{image_id}.png", self.image_file(image_id)
        if self._meaning is None:
            return read_checked_mask(path, image_path, len(self.class_names))
        mask = self._meaning[read_sized_mask(path, image_path)]
        require_known_values(mask, path, len(self.class_names))
        return mask

    def mask_file(self, image_id: str) -> Path | None:
        return None if self._masks is None else self._masks / f"{image_id}.png"

    def files(self, split: str, part: str) -> list[FileSet]:
        """The labels are in the table, which is one of the lists."""
        if part == "lists":
            return [FileSet(_folder_of(path, self.root), [path]) for path in (self._table, self._classes)]
        if part == "images":
            return [
                FileSet(self._images, [self.image_file(image_id) for image_id in self.ids(split)], by_size)
            ]
        if part == "masks" and self._masks is not None:
            masks = [self._masks / f"{image_id}.png" for image_id in self.ids(split)]
            return [FileSet(self._masks, masks)]
        return []

    def _read_table(self) -> None:
        on_disk = file_names(self._images)
        for row in read_table(self._table, "classes"):
            if row.image not in on_disk:
                raise ValueError(
                    f"{row.where}: no image {row.image!r} in {self._images}; a file name with suffix is "
                    f"expected{_similar(row.image, on_disk)}"
                )
            # VOC has a class `train`
            if row.split in self.class_names and row.split != "train":
                raise ValueError(
                    f"{row.where}: the split is {row.split!r}, which is a class; several classes are "
                    "separated by semicolons, not by commas"
                )
            image_id = row.image_id
            if image_id in self._files:
                raise ValueError(
                    f"{row.where}: a second row or file for image {image_id!r}; keep one of each"
                )
            self._files[image_id] = row.image
            self._labels[image_id] = self._multi_hot(row.value, row.where)
            self._splits.setdefault(row.split, []).append(image_id)

    def _multi_hot(self, classes: str, where: str) -> np.ndarray:
        labels = np.zeros(len(self.class_names), np.float32)
        for name in self._names_in(classes):
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

    def _names_in(self, classes: str) -> Iterator[str]:
        """Class names between semicolons, or between commas where these do not belong to a name."""
        for part in filter(None, map(str.strip, classes.split(";"))):
            names = [name.strip() for name in part.split(",") if name.strip()]
            yield from (
                [part] if part in self.class_names or not set(names) <= set(self.class_names) else names
            )


def _meanings(mask_values: dict[int, int]) -> np.ndarray:
    """`(256,)` uint8: what each value of a file of masks means.

    Raises:
        ValueError: a value outside 0..255.
    """
    meanings = np.arange(256, dtype=np.uint8)
    for value, meaning in mask_values.items():
        for number in (value, meaning):
            check_range(f"mask_values ({value}: {meaning})", number, 0, 255)
        meanings[value] = meaning
    return meanings


def _folder_of(path: Path, root: Path) -> Path:
    """The folder that a file is named relative to: the root, if the file is below it."""
    return root if root in path.parents else path.parent


def _similar(name: str, on_disk: Collection[str]) -> str:
    """End of a message about a file that is not there: one of almost this name."""
    wanted = PurePosixPath(name.replace("\\", "/"))
    for other in sorted(on_disk):
        if (
            PurePosixPath(other).with_suffix("").as_posix().lower()
            == wanted.with_suffix("").as_posix().lower()
        ):
            return f"; there is {other!r}"
    return next((f"; there is {other!r}" for other in sorted(on_disk) if other.endswith(f"/{wanted}")), "")
