"""PASCAL VOC layout: VOC 2012 with the SBD training list, the mini world, and own data in the same layout.

Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010; Hariharan et al., "Semantic
Contours from Inverse Detectors", ICCV 2011 (SBD, the 10 582 images of `train_aug`).
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from wsss_bench import vocabulary as vocabularies
from wsss_bench.artifacts.files import read_json
from wsss_bench.data.sources.base import (
    Source,
    expand_root,
    nearest_names,
    read_checked_mask,
    read_image,
    require_folder,
    require_ids,
)
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.types import IGNORE


class VOC(Source):
    """Images and masks in the layout of VOC.

    On disk: `JPEGImages/<id>.jpg`; `Annotations/<id>.xml`, whose object names are the image labels;
    `<masks>/<id>.png` with 0 background, 1..C classes, 255 border; `ImageSets/Segmentation/<split>.txt` with
    one id per line. Objects marked difficult are labels too, as in the label files of published code.
    Optional: `captions.json`, a map from ids to lists of captions.

    Args:
        root: Folder VOCdevkit/VOC2012; environment variables are expanded.
        vocabulary: Class names in label order, a file of `wsss_bench/vocabulary`.
        masks: Folder of masks. `SegmentationClass` has the masks of VOC (train and val),
            `SegmentationClassAug` the coarser ones of SBD, which train_aug needs.
        background: False ignores background pixels and never predicts background (the 20 classes of
            open-vocabulary papers).

    Raises:
        FileNotFoundError: `root` has no folder `JPEGImages`.
    """

    def __init__(
        self,
        root: str | Path,
        vocabulary: str = "voc",
        masks: str = "SegmentationClass",
        background: bool = True,
    ) -> None:
        self.root = expand_root(root)
        self.vocabulary = vocabulary
        self.class_names = vocabularies.load(vocabulary)
        self.masks = masks
        self.has_background = background
        self._images = require_folder(self.root, "JPEGImages", "VOC")
        self._index = {name: c for c, name in enumerate(self.class_names)}
        self._on_disk: set[str] | None = None
        self._labels: dict[str, np.ndarray] = {}
        self._captions: dict[str, list[str]] | None = None

    def ids(self, split: str) -> list[str]:
        path = self._list_path(split)
        if not path.is_file():
            known = sorted(file.stem for file in path.parent.glob("*.txt"))
            raise FileNotFoundError(
                f"no split {split!r}: {path} does not exist; splits there: {', '.join(known) or 'none'}"
            )
        ids = require_ids(_lines(path), split, path)
        if self._on_disk is None:  # list the folder once: single lookups are slow on network file systems
            self._on_disk = {name[:-4] for name in os.listdir(self._images) if name.endswith(".jpg")}
        absent = [image_id for image_id in ids if image_id not in self._on_disk]
        if absent:
            raise ValueError(
                f"{path} lists {len(absent)} of {len(ids)} images that are not in {self._images}, first "
                f"{absent[0]!r}; a line is an id without folder and suffix. Complete the images or correct "
                "the list"
            )
        return ids

    def image(self, image_id: str) -> np.ndarray:
        return read_image(self._image_path(image_id))

    def labels(self, image_id: str) -> np.ndarray:
        if image_id not in self._labels:
            self._labels[image_id] = self._read_labels(image_id)
        return self._labels[image_id].copy()

    def mask(self, image_id: str) -> np.ndarray:
        path = self._mask_path(image_id)
        mask = read_checked_mask(path, self._image_path(image_id), len(self.class_names))
        return mask if self.has_background else np.where(mask == 0, np.uint8(IGNORE), mask)

    def captions(self, image_id: str) -> tuple[str, ...]:
        if self._captions is None:
            path = self.root / "captions.json"
            self._captions = read_json(path) if path.is_file() else {}
        return tuple(self._captions.get(image_id, ())) or super().captions(image_id)

    def files(self, split: str, part: str) -> list[FileSet]:
        if part == "lists":
            return [FileSet(self.root, [self._list_path(split)])]
        if part == "captions":
            return [FileSet(self.root, [self.root / "captions.json"])]
        ids = self.ids(split)
        if part == "images":
            return [FileSet(self.root, [self._image_path(image_id) for image_id in ids], by_size)]
        path = self._annotation_path if part == "labels" else self._mask_path
        return [FileSet(self.root, [path(image_id) for image_id in ids])]

    def _list_path(self, split: str) -> Path:
        return self.root / "ImageSets" / "Segmentation" / f"{split}.txt"

    def _annotation_path(self, image_id: str) -> Path:
        return self.root / "Annotations" / f"{image_id}.xml"

    def _mask_path(self, image_id: str) -> Path:
        return self.root / self.masks / f"{image_id}.png"

    def _image_path(self, image_id: str) -> Path:
        return self._images / f"{image_id}.jpg"

    def _read_labels(self, image_id: str) -> np.ndarray:
        path = self._annotation_path(image_id)
        if not path.is_file():
            raise FileNotFoundError(
                f"image {image_id!r} has no annotation {path}; image labels are read from it, "
                "so complete Annotations/ or leave the image out of the split"
            )
        try:
            tree = ElementTree.parse(path)
        except ElementTree.ParseError as error:
            raise ValueError(f"{path} is not valid XML ({error}); replace it with an intact copy") from error
        labels = np.zeros(len(self.class_names), np.float32)
        for item in tree.iterfind("object"):  # direct children only: parts of a person have names too
            name = (item.findtext("name") or "").strip()
            if name not in self._index:
                raise ValueError(
                    f"{path} names the class {name!r}, which vocabulary {self.vocabulary!r} lacks "
                    f"({nearest_names(name, self.class_names)}); set `vocabulary` to the one of this data"
                )
            labels[self._index[name]] = 1.0
        return labels


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]
