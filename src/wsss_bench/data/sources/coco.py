"""COCO layout: COCO 2014 and 2017, and the mini world in the same format.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

Publications on weakly supervised segmentation use different masks for COCO, so their scores differ too. Here
masks are computed from the official json: classes are numbered 1..C in the order of the category ids, crowd
regions are 255, and objects are painted from the largest to the smallest, so that small objects stay visible
on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wsss_bench.artifacts.files import file_names
from wsss_bench.artifacts.images import Unreadable, image_size, read_image
from wsss_bench.data.sources.base import (
    Source,
    expand_root,
    nearest_names,
    read_checked_mask,
    require_folder,
    require_ids,
)
from wsss_bench.data.sources.class_lists import load_classes, own_list
from wsss_bench.data.sources.coco_json import (
    Picture,
    category_names,
    image_id_of,
    pictures_of,
    read_content,
    sorted_by_id,
)
from wsss_bench.data.sources.coco_segmentation import decode
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.types import IGNORE

CHECKED_SIZES = 500
"""Pictures whose size is compared with the json before anything is computed, evenly spread over a split."""


class COCO(Source):
    """Images and annotations in the published layout of COCO.

    On disk: `<split><year>/*.jpg`, `annotations/instances_<split><year>.json` and, for captions,
    `annotations/captions_<split><year>.json`. An image id is `file_name` without suffix. A json is read once,
    when its split is first needed, checked (`coco_json`), and kept in a compact form.

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
        self._splits: dict[str, dict[str, Picture]] = {}
        self._captions: dict[str, dict[str, list[str]]] = {}

    def ids(self, split: str) -> list[str]:
        pictures = self._split(split)
        folder = self.root / f"{split}{self.year}"
        on_disk = file_names(folder)
        ids = [i for i, picture in pictures.items() if not self.labelled_only or _has_label(picture)]
        if pictures and not ids:
            raise ValueError(
                f"split {split!r} is empty: none of the {len(pictures)} images of "
                f"{self._json('instances', split)} has an object of a class (crowd regions give no label); "
                "correct the annotations, or keep such images with `labelled_only: false`"
            )
        absent = [i for i in ids if pictures[i].path.relative_to(folder).as_posix() not in on_disk]
        if absent:
            remedy = "complete the images" if len(absent) < len(ids) else "is it the json of another split?"
            raise ValueError(
                f"{self._json('instances', split)} lists {len(absent)} of {len(ids)} images that are not in "
                f"{folder}, first {pictures[absent[0]].path.relative_to(folder).as_posix()!r}; {remedy}"
            )
        for image_id in ids[:: max(1, len(ids) // CHECKED_SIZES)]:
            try:
                self._check_size(pictures[image_id], split)
            except Unreadable:  # noqa: PERF203 (reading the headers costs far more)
                continue  # `image` says so, if it is needed
        return require_ids(ids, split, self._json("instances", split))

    def image(self, image_id: str) -> np.ndarray:
        return read_image(self._picture(image_id).path)

    def image_file(self, image_id: str) -> Path:
        return self._picture(image_id).path

    def mask_file(self, image_id: str) -> Path | None:
        return None if self.masks is None else self.masks / f"{image_id}.png"

    def labels(self, image_id: str) -> np.ndarray:
        labels = np.zeros(len(self.class_names), np.float32)
        for item in self._picture(image_id).objects:
            if 0 < item.value < IGNORE:  # crowds are ignored in masks, so they are no labels either
                labels[item.value - 1] = 1.0
        return labels

    def mask(self, image_id: str) -> np.ndarray:
        picture = self._picture(image_id)
        if self.masks is not None:
            return read_checked_mask(self.masks / f"{image_id}.png", picture.path, len(self.class_names))
        self._check_size(picture, self._split_of(image_id))
        return _paint(picture)

    def captions(self, image_id: str) -> tuple[str, ...]:
        split = self._split_of(image_id)
        if split not in self._captions:
            self._captions[split] = self._read_captions(split)
        found = self._captions[split].get(image_id)
        if not found:
            raise ValueError(
                f"{self._json('captions', split)} has no caption for image {image_id!r}; remove it "
                "from the split"
            )
        return tuple(found)

    def files(self, split: str, part: str) -> list[FileSet]:
        """All pictures and masks of a split count; to read from the json which are listed takes too long."""
        if part == "images":
            return [FileSet(self.root, self._pictures(split), by_size)]
        if part == "captions":
            return [FileSet(self.root, [self._json("captions", split)])]
        if part == "masks" and self.masks is not None:
            folder = self.root / f"{split}{self.year}"
            names = [path.relative_to(folder).with_suffix(".png") for path in self._pictures(split)]
            return [FileSet(self.masks, [self.masks / name for name in names])]
        own = own_list(self.vocabulary, self.root) if part == "lists" else None
        return [FileSet(self.root, [self._json("instances", split), *([own] if own else [])])]

    def _pictures(self, split: str) -> list[Path]:
        folder = self.root / f"{split}{self.year}"
        names = sorted(file_names(folder))
        return [folder / name for name in names if not name.rpartition("/")[2].startswith(".")]

    def _json(self, kind: str, split: str) -> Path:
        return self._annotations / f"{kind}_{split}{self.year}.json"

    def _picture(self, image_id: str) -> Picture:
        return self._split(self._split_of(image_id))[image_id]

    def _split_of(self, image_id: str) -> str:
        for split, pictures in self._splits.items():
            if image_id in pictures:
                return split
        # read only the json of the folder that contains the file
        for folder in sorted(self.root.glob(f"*{self.year}")):
            split = folder.name.removesuffix(str(self.year))
            if any(folder.glob(f"{escape(image_id)}.*")) and image_id in self._split(split):
                return split
        raise ValueError(
            f"no image {image_id!r} in {self.root}; ids are file names of <split>{self.year}/ without suffix"
        )

    def _split(self, split: str) -> dict[str, Picture]:
        if split not in self._splits:
            self._splits[split] = self._read_instances(split)
        return self._splits[split]

    def _read_instances(self, split: str) -> dict[str, Picture]:
        path = self._json("instances", split)
        content = read_content(path, "images", "annotations", "categories")
        value = self._mask_values(category_names(content, path), path)
        folder = self.root / f"{split}{self.year}"
        pictures, without_pixels = pictures_of(content, path, folder, value, with_masks=self.masks is None)
        self.left_out += [f"{path}: {sentence}" for sentence in without_pixels]
        for other, known in self._splits.items():
            for image_id in pictures.keys() & known.keys():
                if not _same(pictures[image_id], known[image_id]):
                    raise ValueError(
                        f"the image id {image_id!r} is in the splits {split!r} and {other!r} of {self.root} "
                        "with different annotations; an id names one image, so rename one"
                    )
        return pictures

    def _mask_values(self, categories: Mapping[Any, str], path: Path) -> dict[Any, int]:
        """Mask value of each category."""
        missing = [name for name in self.class_names if name not in categories.values()]
        if missing:
            raise ValueError(
                f"the {len(categories)} categories of {path} are not the {len(self.class_names)} classes of "
                f"vocabulary {self.vocabulary!r}: {len(missing)} classes are missing, first {missing[0]!r} "
                f"({nearest_names(missing[0], tuple(categories.values()))}); set `vocabulary` to the one of "
                "this data, or to the path of a list of its classes"
            )
        others = [name for name in categories.values() if name not in self.class_names]
        if others:
            shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
            self.left_out.append(
                f"{path}: {len(others)} of {len(categories)} categories are no class and become "
                f"{self.other_categories}: {shown}"
            )
        index = {name: c for c, name in enumerate(self.class_names)}
        other = IGNORE if self.other_categories == "ignored" else 0
        return {number: index[name] + 1 if name in index else other for number, name in categories.items()}

    def _check_size(self, picture: Picture, split: str) -> None:
        """Compare the size in the json with that of the picture.

        Raises:
            Unreadable: the picture cannot be read.
            ValueError: they differ.
        """
        expected = image_size(picture.path)
        if (picture.height, picture.width) != expected:
            turned = " (height and width exchanged)" if (picture.width, picture.height) == expected else ""
            raise ValueError(
                f"{self._json('instances', split)} says that {picture.path.name!r} is "
                f"{picture.height}x{picture.width} (height x width), the picture is "
                f"{expected[0]}x{expected[1]}"
                f"{turned}; correct the json, or use the pictures that were annotated (their EXIF "
                "orientation is applied)"
            )

    def _read_captions(self, split: str) -> dict[str, list[str]]:
        path = self._json("captions", split)
        content = read_content(path, "images", "annotations")
        image_ids = {
            entry["id"]: image_id_of(entry, path) for entry in sorted_by_id(content["images"], "image", path)
        }
        captions: dict[str, list[str]] = {}
        for entry in sorted_by_id(content["annotations"], "annotation", path):
            caption, image_id = entry.get("caption"), image_ids.get(entry.get("image_id"))
            if image_id is None or not isinstance(caption, str) or not caption.strip():
                raise ValueError(
                    f"{path}: annotation {entry['id']!r} has the image_id {entry.get('image_id')!r} and the "
                    f"caption {caption!r}; expected a listed image and a text"
                )
            captions.setdefault(image_id, []).append(" ".join(caption.split()))
        return captions


def _has_label(picture: Picture) -> bool:
    return any(0 < item.value < IGNORE for item in picture.objects)


def _same(one: Picture, other: Picture) -> bool:
    """Whether two splits list the same image: of the same size, with the same objects."""
    objects = [(item.value, item.area, item.crowd) for item in one.objects]
    others = [(item.value, item.area, item.crowd) for item in other.objects]
    return (one.height, one.width, objects) == (other.height, other.width, others)


def _paint(picture: Picture) -> np.ndarray:
    """Paint crowds, then objects from the largest to the smallest; equal areas in order of annotation id."""
    columns = np.zeros((picture.width, picture.height), np.uint8)  # the order that objects are decoded in
    for item in sorted(picture.objects, key=lambda item: (not item.crowd, -item.area)):
        columns[decode(item.segmentation, picture.height, picture.width).T] = item.value
    return np.ascontiguousarray(columns.T)
