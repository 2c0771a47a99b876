"""COCO layout: COCO 2014 and 2017, and the mini world in the same format.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

Publications on weakly supervised segmentation use different masks for COCO, so their scores differ too. Here
masks are computed from the official json: classes are numbered 1..C in the order of the category ids, crowd
regions are 255, and objects are painted from the largest to the smallest, so that small objects stay visible
on top.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle

from wsss_bench import vocabulary as vocabularies
from wsss_bench.data.sources.base import (
    Source,
    expand_root,
    read_checked_mask,
    read_image,
    require_folder,
    require_ids,
)
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.types import IGNORE


class _Object(NamedTuple):
    value: int  # mask value: 1..C, or 255 for a crowd
    area: float
    segmentation: Any  # list of flat float64 polygons, or a run-length encoding


class _Picture(NamedTuple):
    path: Path
    height: int
    width: int
    objects: list[_Object]


class COCO(Source):
    """Images and annotations in the published layout of COCO.

    On disk: `<split><year>/*.jpg`, `annotations/instances_<split><year>.json` and, for captions,
    `annotations/captions_<split><year>.json`. An image id is the file name without suffix. A json is read
    once, when its split is first needed, and kept in a compact form.

    Args:
        root: Folder that contains `annotations`; environment variables are expanded.
        year: 2014 is the usual choice in weakly supervised segmentation.
        vocabulary: Class names in label order; they must be the categories of the json in the order of their
            ids.
        labelled_only: Leave out images without any object. COCO 2014 has 82 783 training and 40 504
            validation images; without those it has 82 081 and 40 137, the usual lists in weakly supervised
            segmentation.
        masks: Folder of prepared masks `<id>.png` (`wsss-bench data coco-masks` writes them); None decodes
            the json.

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
    ) -> None:
        self.root = expand_root(root)
        self.year = year
        self.vocabulary = vocabulary
        self.class_names = vocabularies.load(vocabulary)
        self.labelled_only = labelled_only
        self.masks = None if masks is None else expand_root(masks)
        self._annotations = require_folder(self.root, "annotations", "COCO")
        self._splits: dict[str, dict[str, _Picture]] = {}
        self._captions: dict[str, dict[str, list[str]]] = {}

    def ids(self, split: str) -> list[str]:
        pictures = self._split(split)
        folder = self.root / f"{split}{self.year}"
        on_disk = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        ids = [i for i, picture in pictures.items() if not self.labelled_only or _has_label(picture)]
        absent = [image_id for image_id in ids if pictures[image_id].path.name not in on_disk]
        if absent:
            raise ValueError(
                f"{self._json('instances', split)} lists {len(absent)} of {len(ids)} images that are not in "
                f"{folder}, first {pictures[absent[0]].path.name!r}; complete the images"
            )
        return require_ids(ids, split, self._json("instances", split))

    def image(self, image_id: str) -> np.ndarray:
        return read_image(self._picture(image_id).path)

    def labels(self, image_id: str) -> np.ndarray:
        labels = np.zeros(len(self.class_names), np.float32)
        for item in self._picture(image_id).objects:
            if item.value != IGNORE:  # crowds are ignored in masks, so they are no labels either
                labels[item.value - 1] = 1.0
        return labels

    def mask(self, image_id: str) -> np.ndarray:
        picture = self._picture(image_id)
        if self.masks is not None:
            return read_checked_mask(self.masks / f"{image_id}.png", picture.path, len(self.class_names))
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
            masks = [self.masks / f"{path.stem}.png" for path in self._pictures(split)]
            return [FileSet(self.masks, masks)]
        return [FileSet(self.root, [self._json("instances", split)])]

    def _pictures(self, split: str) -> list[Path]:
        found = sorted((self.root / f"{split}{self.year}").rglob("*.*"))
        return [path for path in found if not path.name.startswith(".")]

    def _json(self, kind: str, split: str) -> Path:
        return self._annotations / f"{kind}_{split}{self.year}.json"

    def _picture(self, image_id: str) -> _Picture:
        return self._split(self._split_of(image_id))[image_id]

    def _split_of(self, image_id: str) -> str:
        for split, pictures in self._splits.items():
            if image_id in pictures:
                return split
        # read only the json of the folder that contains the file
        for folder in self.root.glob(f"*{self.year}"):
            split = folder.name.removesuffix(str(self.year))
            if (folder / f"{image_id}.jpg").is_file() and image_id in self._split(split):
                return split
        raise ValueError(
            f"no image {image_id!r} in {self.root}; ids are file names of <split>{self.year}/ without suffix"
        )

    def _split(self, split: str) -> dict[str, _Picture]:
        if split not in self._splits:
            self._splits[split] = self._read_instances(split)
        return self._splits[split]

    def _read_instances(self, split: str) -> dict[str, _Picture]:
        path = self._json("instances", split)
        content = _load(path)
        value = self._mask_values(content["categories"], path)
        pictures: dict[int, tuple[str, _Picture]] = {}
        for entry in sorted(content["images"], key=lambda entry: entry["id"]):
            file = self.root / f"{split}{self.year}" / entry["file_name"]
            pictures[entry["id"]] = (file.stem, _Picture(file, entry["height"], entry["width"], []))
        for entry in sorted(content["annotations"], key=lambda entry: entry["id"]):
            if entry["image_id"] not in pictures:
                raise ValueError(
                    f"{path}: annotation {entry['id']} belongs to image {entry['image_id']}, which is not "
                    "listed"
                )
            item = _Object(
                IGNORE if entry.get("iscrowd", 0) else value[entry["category_id"]],
                entry["area"],
                entry["segmentation"],
            )
            pictures[entry["image_id"]][1].objects.append(item)
        return dict(pictures.values())

    def _mask_values(self, categories: list[dict[str, Any]], path: Path) -> dict[int, int]:
        ordered = sorted(categories, key=lambda category: category["id"])
        names = tuple(category["name"] for category in ordered)
        if names != self.class_names:
            missing = sorted(set(self.class_names) - set(names))
            extra = sorted(set(names) - set(self.class_names))
            raise ValueError(
                f"the {len(names)} categories of {path} are not the {len(self.class_names)} classes of "
                f"vocabulary {self.vocabulary!r} in the same order (only in the vocabulary: {missing}, only "
                f"in the json: {extra}); set `vocabulary` to the one of this data"
            )
        return {category["id"]: c + 1 for c, category in enumerate(ordered)}

    def _read_captions(self, split: str) -> dict[str, list[str]]:
        content = _load(self._json("captions", split))
        stem = {entry["id"]: Path(entry["file_name"]).stem for entry in content["images"]}
        captions: dict[str, list[str]] = {}
        for entry in sorted(content["annotations"], key=lambda entry: entry["id"]):
            captions.setdefault(stem[entry["image_id"]], []).append(" ".join(entry["caption"].split()))
        return captions


def _has_label(picture: _Picture) -> bool:
    return any(item.value != IGNORE for item in picture.objects)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        known = ", ".join(sorted(file.name for file in path.parent.glob("*.json"))) or "none"
        raise FileNotFoundError(f"{path} does not exist; annotation files there: {known}")
    try:
        return json.loads(path.read_text(), object_hook=_slim)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); download it again") from error


_UNUSED = ("bbox", "coco_url", "flickr_url", "date_captured", "license", "supercategory")


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """Drop unused keys, convert polygons to arrays during parsing: COCO train has thirty million numbers."""
    for name in _UNUSED:
        entry.pop(name, None)
    if isinstance(entry.get("segmentation"), list):
        polygons = entry["segmentation"]
        entry["segmentation"] = [np.asarray(polygon, np.float64) for polygon in polygons if len(polygon) >= 6]
    return entry


def _paint(picture: _Picture) -> np.ndarray:
    """Paint crowds, then objects from the largest to the smallest; equal areas in order of annotation id."""
    mask = np.zeros((picture.height, picture.width), np.uint8)
    for item in sorted(picture.objects, key=lambda item: (item.value != IGNORE, -item.area)):
        mask[_decode(item.segmentation, picture.height, picture.width)] = item.value
    return mask


def _decode(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        if not segmentation:
            return np.zeros((height, width), bool)
        encoded = rle.merge(rle.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        encoded = rle.frPyObjects(segmentation, height, width)
    else:
        encoded = segmentation
    return rle.decode(encoded).astype(bool)
