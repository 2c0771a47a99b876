"""PASCAL Context, with background (60 labels) and without (59).

Mottaghi et al., "The Role of Context for Object Detection and Semantic Segmentation in the Wild", CVPR 2014.

Two orders of the same 59 classes are in use: the alphabetical one of the conversion of mmsegmentation, which
this source reads, and one that begins with the 20 classes of VOC (GluonCV, older mmsegmentation). Masks in
one order scored with names in the other give a score near chance without any error. Since a few classes cover
most pixels of most images, the histogram of mask values reveals the order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss_bench import vocabulary as vocabularies
from wsss_bench.artifacts.files import file_names
from wsss_bench.artifacts.images import read_image
from wsss_bench.data.sources.base import (
    Source,
    expand_root,
    read_checked_mask,
    read_sized_mask,
    require_folder,
    require_ids,
)
from wsss_bench.data.sources.files import FileSet, by_size
from wsss_bench.data.sources.split_lists import read_image_list
from wsss_bench.types import IGNORE

COMMON = ("building", "floor", "grass", "ground", "person", "road", "sky", "tree")
"""Classes that cover many pixels and have different values in the two orders (unlike wall and water)."""
VOC_FIRST = (25, 33, 36, 37, 15, 46, 50, 54)
"""Mask values of `COMMON` in the order that begins with the classes of VOC."""
CHECKED_MASKS = 64
"""Number of masks whose histogram is computed."""


class PascalContext(Source):
    """Images of VOC 2010 with the masks of PASCAL Context.

    On disk: `JPEGImages/<id>.jpg`; `SegmentationClassContext/<id>.png` with 0 for background and 1..59, as
    written by `convert_datasets/pascal_context.py` of mmsegmentation;
    `ImageSets/SegmentationContext/<split>.txt`.

    Args:
        root: Folder VOCdevkit/VOC2010; environment variables are expanded.
        background: False ignores background pixels and never predicts background (Context 59).

    Raises:
        FileNotFoundError: `root` has no folder `JPEGImages`.
    """

    def __init__(self, root: str | Path, background: bool = True) -> None:
        self.root = expand_root(root)
        self.class_names = vocabularies.load("context")
        self.has_background = background
        self._images = require_folder(self.root, "JPEGImages", "PascalContext")
        self._order_checked = False

    def ids(self, split: str) -> list[str]:
        path = self._list_path(split)
        if not path.is_file():
            known = sorted(file.stem for file in path.parent.glob("*.txt"))
            raise FileNotFoundError(
                f"no split {split!r}: {path} does not exist; splits there: {', '.join(known) or 'none'}"
            )
        on_disk = {name[:-4] for name in file_names(self._images) if name.endswith(".jpg")}
        return require_ids(read_image_list(path, on_disk, self._images.name), split, path)

    def image(self, image_id: str) -> np.ndarray:
        return read_image(self.image_file(image_id))

    def image_file(self, image_id: str) -> Path:
        return self._images / f"{image_id}.jpg"

    def mask_file(self, image_id: str) -> Path:
        return self.root / "SegmentationClassContext" / f"{image_id}.png"

    def labels(self, image_id: str) -> np.ndarray:
        raise ValueError(
            f"PascalContext has no image-level labels (asked for image {image_id!r}); it is only scored on. "
            "Train on another data set"
        )

    def mask(self, image_id: str) -> np.ndarray:
        self._check_order()
        path, image_path = self.mask_file(image_id), self.image_file(image_id)
        mask = read_checked_mask(path, image_path, len(self.class_names))
        return mask if self.has_background else np.where(mask == 0, np.uint8(IGNORE), mask)

    def files(self, split: str, part: str) -> list[FileSet]:
        if part == "lists":
            return [FileSet(self.root, [self._list_path(split)])]
        if part == "images":
            return [FileSet(self.root, [self.image_file(image_id) for image_id in self.ids(split)], by_size)]
        if part == "masks":
            return [FileSet(self.root, [self.mask_file(image_id) for image_id in self.ids(split)])]
        return []

    def _list_path(self, split: str) -> Path:
        return self.root / "ImageSets" / "SegmentationContext" / f"{split}.txt"

    def _check_order(self) -> None:
        """Raise `ValueError` for masks in the order that begins with the classes of VOC; checked once."""
        if self._order_checked:
            return
        masks = file_names(self.root / "SegmentationClassContext")
        ids = sorted(name[:-4] for name in masks if name.endswith(".png"))
        histogram = np.zeros(256, np.int64)
        for image_id in ids[:: max(1, len(ids) // CHECKED_MASKS)]:
            mask = read_sized_mask(self.mask_file(image_id), self._images / f"{image_id}.jpg")
            histogram += np.bincount(mask.ravel(), minlength=256)
        ours = [self.class_names.index(name) + 1 for name in COMMON]
        here, there = histogram[ours].sum(), histogram[list(VOC_FIRST)].sum()
        if there > here:
            shares = 100 * np.array([here, there]) / max(1, histogram[1 : len(self.class_names) + 1].sum())
            raise ValueError(
                f"the masks in {self.root / 'SegmentationClassContext'} seem to be in another order of "
                f"classes: {', '.join(COMMON)} cover {shares[0]:.0f} % of the labelled pixels in the order "
                f"of mmsegmentation (alphabetical), {shares[1]:.0f} % in that which begins with VOC's "
                "(aeroplane, bicycle, bird, ...). Make the masks with mmsegmentation's conversion "
                "(docs/data.md)"
            )
        self._order_checked = True
