"""COCO layout: COCO 2014 and 2017, and the mini world in the same format.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

Publications on weakly supervised segmentation use different masks for COCO, so their scores differ too. Here
masks are computed from the official json: classes are numbered 1..C in the order of the category ids, crowd
regions are 255, and objects are painted from the largest to the smallest, so that small objects stay visible
on top.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from glob import escape
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from wsss_bench.artifacts.files import file_names
from wsss_bench.artifacts.images import Unreadable, image_size, read_image
from wsss_bench.data.sources.annotation_index import index_of
from wsss_bench.data.sources.base import (
    Source,
    expand_root,
    nearest_names,
    read_checked_mask,
    require_folder,
    require_ids,
)
from wsss_bench.data.sources.class_lists import load_classes, own_list
from wsss_bench.data.sources.coco_instances import Instances, Picture
from wsss_bench.data.sources.coco_json import parse_captions, require_json
from wsss_bench.data.sources.coco_segmentation import paint
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.types import IGNORE

CHECKED_SIZES = 500
"""Pictures whose size is compared with the json before anything is computed, evenly spread over a split."""


class COCO(Source):
    """Images and annotations in the published layout of COCO.

    On disk: `<split><year>/*.jpg`, `annotations/instances_<split><year>.json` and, for captions,
    `annotations/captions_<split><year>.json`. An image id is `file_name` without suffix. A json is parsed and
    checked once (`coco_json`), and then read from its index (`annotation_index`).

    Args:
        root: Folder that contains `annotations`; environment variables are expanded.
        year: 2014 is the usual choice in weakly supervised segmentation.
        vocabulary: Class names in label order: a file of `wsss_bench/vocabulary`, or the path of a list with
            one name per line (`class_lists`). All must be categories of the json.
        other_categories: What the pixels of the categories become that the vocabulary does not have:
            background, as everything else that is no class, or ignored (255). Their objects are painted in
            the same order, so that the masks are those of all categories with the values exchanged. They
            never give a label.
        labelled_only: Leave out images without any object. COCO 2014 has 82 783 training and 40 504
            validation images; without those it has 82 081 and 40 137, the usual lists in weakly supervised
            segmentation.
        masks: Folder of prepared masks `<id>.png` (`wsss-bench data coco-masks` writes them); None decodes
            the json. With it, a json with boxes only is enough.

    Raises:
        FileNotFoundError: `root` has no folder `annotations`.
    """

    def __init__(
        self,
        root: str | Path,
        year: int = 2014,
        vocabulary: str = "coco",
        labelled_only: bool = True,
        masks: str | None = None,
        other_categories: Literal["background", "ignored"] = "background",
    ) -> None:
        self.root = expand_root(root)
        self.year = year
        self.vocabulary = vocabulary
        self.class_names = load_classes(vocabulary, self.root)
        self.labelled_only = labelled_only
        self.masks = None if masks is None else expand_root(masks)
        self._annotations = require_folder(self.root, "annotations", "COCO")
        self.other_categories = other_categories
        self.left_out: list[
            str
        ] = []  # sentences for `data check`: categories and objects that give no pixels
        self._splits: dict[str, Instances] = {}
        self._values: dict[str, np.ndarray] = {}  # mask value of each category of a split, uint8
        self._captions: dict[str, _Captions] = {}

    def ids(self, split: str) -> list[str]:
        instances = self._split(split)
        ids = list(instances)
        if self.labelled_only:
            ids = instances.with_object(_is_class(self._values[split]))
        if len(instances) and not ids:
            raise ValueError(
                f"split {split!r} is empty: none of the {len(instances)} images of "
                f"{instances.path} has an object of a class (crowd regions give no label); "
                "correct the annotations, or keep such images with `labelled_only: false`"
            )
        on_disk = file_names(instances.folder)
        absent = [i for i in ids if instances.name(i) not in on_disk]
        if absent:
            remedy = "complete the images" if len(absent) < len(ids) else "is it the json of another split?"
            raise ValueError(
                f"{instances.path} lists {len(absent)} of {len(ids)} images that are not in "
                f"{instances.folder}, first {instances.name(absent[0])!r}; {remedy}"
            )
        for image_id in ids[:: max(1, len(ids) // CHECKED_SIZES)]:
            try:
                self._check_size(instances[image_id], instances.path)
            except Unreadable:  # noqa: PERF203 (reading the headers costs far more)
                continue  # `image` says so, if it is needed
        return require_ids(ids, split, instances.path)

    def image(self, image_id: str) -> np.ndarray:
        return read_image(self._picture(image_id).path)

    def image_file(self, image_id: str) -> Path:
        return self._picture(image_id).path

    def mask_file(self, image_id: str) -> Path | None:
        return None if self.masks is None else self.masks / f"{image_id}.png"

    def labels(self, image_id: str) -> np.ndarray:
        labels = np.zeros(len(self.class_names), np.float32)
        values = self._object_values(self._split_of(image_id), image_id)
        labels[values[_is_class(values)] - 1] = (
            1.0  # crowds are ignored in masks, so they are no labels either
        )
        return labels

    def mask(self, image_id: str) -> np.ndarray:
        split = self._split_of(image_id)
        instances = self._split(split)
        picture = instances[image_id]
        if self.masks is not None:
            return read_checked_mask(self.masks / f"{image_id}.png", picture.path, len(self.class_names))
        self._check_size(picture, instances.path)
        return _paint(picture, self._object_values(split, image_id), instances.segmentations(picture))

    def captions(self, image_id: str) -> tuple[str, ...]:
        split = self._split_of(image_id)
        if split not in self._captions:
            self._captions[split] = _Captions(self._json("captions", split))
        found = self._captions[split].of(image_id)
        if not found:
            raise ValueError(
                f"{self._json('captions', split)} has no caption for image {image_id!r}; remove it "
                "from the split"
            )
        return found

    def files(self, split: str, part: str) -> list[FileSet]:
        """All pictures and masks of a split count; to read from the json which are listed takes too long."""
        if part == "images":
            folder = self.root / f"{split}{self.year}"
            return [FileSet(self.root, [f"{folder}/{name}" for name in self._pictures(split)], by_size)]
        if part == "captions":
            return [FileSet(self.root, [self._json("captions", split)])]
        if part == "masks" and self.masks is not None:
            stems = [os.path.splitext(name)[0] for name in self._pictures(split)]
            return [FileSet(self.masks, [f"{self.masks}/{stem}.png" for stem in stems])]
        own = own_list(self.vocabulary, self.root) if part == "lists" else None
        return [FileSet(self.root, [self._json("instances", split), *([own] if own else [])])]

    def _pictures(self, split: str) -> list[str]:
        """Paths of all pictures of a split, relative to its folder."""
        names = file_names(self.root / f"{split}{self.year}")
        return sorted(name for name in names if not name.rpartition("/")[2].startswith("."))

    def _json(self, kind: str, split: str) -> Path:
        return self._annotations / f"{kind}_{split}{self.year}.json"

    def _picture(self, image_id: str) -> Picture:
        return self._split(self._split_of(image_id))[image_id]

    def _object_values(self, split: str, image_id: str) -> np.ndarray:
        """Mask values of the objects of an image: 1..C, 255 (crowds, and other categories that are ignored),
        0 (other categories).
        """
        picture = self._splits[split][image_id]
        return np.where(picture.crowd, np.uint8(IGNORE), self._values[split][picture.category])

    def _split_of(self, image_id: str) -> str:
        for split, instances in self._splits.items():
            if image_id in instances:
                return split
        # read only the json of the folder that contains the file
        for folder in sorted(self.root.glob(f"*{self.year}")):
            split = folder.name.removesuffix(str(self.year))
            if any(folder.glob(f"{escape(image_id)}.*")) and image_id in self._split(split):
                return split
        raise ValueError(
            f"no image {image_id!r} in {self.root}; ids are file names of <split>{self.year}/ without suffix"
        )

    def _split(self, split: str) -> Instances:
        if split not in self._splits:
            path, folder = self._json("instances", split), self.root / f"{split}{self.year}"
            instances = Instances(path, folder, with_masks=self.masks is None)
            values = self._mask_values(instances.categories, path)
            self.left_out += [f"{path}: {sentence}" for sentence in instances.without_pixels]
            self._values[split] = values
            self._splits[split] = instances
            self._check_shared_ids(split)
        return self._splits[split]

    def _check_shared_ids(self, split: str) -> None:
        """Raise `ValueError` if an id of this split names another image in another split."""
        for other in self._splits.keys() - {split}:
            for image_id in filter(self._splits[split].__contains__, self._splits[other]):
                if not self._is_same(image_id, split, other):
                    del self._splits[split]
                    raise ValueError(
                        f"the image id {image_id!r} is in the splits {split!r} and {other!r} of {self.root} "
                        "with different annotations; an id names one image, so rename one"
                    )

    def _is_same(self, image_id: str, *splits: str) -> bool:
        """Whether two splits list the same image: of the same size, with the same objects."""
        one, other = (self._splits[split][image_id] for split in splits)
        return (
            (one.height, one.width) == (other.height, other.width)
            and np.array_equal(
                self._object_values(splits[0], image_id), self._object_values(splits[1], image_id)
            )
            and np.array_equal(one.area, other.area)
            and np.array_equal(one.crowd, other.crowd)
        )

    def _mask_values(self, categories: Sequence[str], path: Path) -> np.ndarray:
        """Mask value of each category, uint8."""
        missing = [name for name in self.class_names if name not in categories]
        if missing:
            raise ValueError(
                f"the {len(categories)} categories of {path} are not the {len(self.class_names)} classes of "
                f"vocabulary {self.vocabulary!r}: {len(missing)} classes are missing, first {missing[0]!r} "
                f"({nearest_names(missing[0], tuple(categories))}); set `vocabulary` to the one of "
                "this data, or to the path of a list of its classes"
            )
        others = [name for name in categories if name not in self.class_names]
        if others:
            shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
            self.left_out.append(
                f"{path}: {len(others)} of {len(categories)} categories are no class and become "
                f"{self.other_categories}: {shown}"
            )
        index = {name: c for c, name in enumerate(self.class_names)}
        other = IGNORE if self.other_categories == "ignored" else 0
        return np.array([index[name] + 1 if name in index else other for name in categories], np.uint8)

    def _check_size(self, picture: Picture, path: Path) -> None:
        """Compare the size in the json with that of the picture.

        Raises:
            Unreadable: the picture cannot be read.
            ValueError: they differ.
        """
        expected = image_size(picture.path)
        if (picture.height, picture.width) != expected:
            turned = " (height and width exchanged)" if (picture.width, picture.height) == expected else ""
            raise ValueError(
                f"{path} says that {picture.path.name!r} is "
                f"{picture.height}x{picture.width} (height x width), the picture is "
                f"{expected[0]}x{expected[1]}"
                f"{turned}; correct the json, or use the pictures that were annotated (their EXIF "
                "orientation is applied)"
            )


class _Captions:
    """The captions of an annotation file, from its index."""

    def __init__(self, path: Path) -> None:
        require_json(path)
        self._index = index_of(path, "captions", partial(parse_captions, path))
        self._positions = {image_id: index for index, image_id in enumerate(self._index.header["ids"])}

    def of(self, image_id: str) -> tuple[str, ...]:
        """The captions of an image; none if the file has none."""
        position = self._positions.get(image_id)
        return () if position is None else tuple(json.loads(self._index.piece(position)))


def _is_class(values: np.ndarray) -> np.ndarray:
    return (values > 0) & (values != IGNORE)


def _paint(picture: Picture, values: np.ndarray, segmentations: Sequence[object]) -> np.ndarray:
    """Paint crowds, then objects from the largest to the smallest; equal areas in order of annotation id."""
    columns = np.zeros((picture.width, picture.height), np.uint8)  # as objects are decoded
    for index in np.lexsort((-picture.area, ~picture.crowd)):  # stable
        paint(columns, segmentations[index], values[index])
    return cv2.transpose(columns)  # three times as fast as numpy
