"""A training split with extra images from other sources: single objects, web images, another data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsss_bench.data.sources.base import Source, nearest_names
from wsss_bench.data.sources.files import FileSet


@dataclass
class ExtraImages:
    """Extra training images and their roles. By default they are used like the main images (code of MCIS).

    Args:
        source: Source of the images and their labels; its classes are among those of the main source, in any
            order.
        split: Split of that source.
        may_be_anchor: Whether they are training images of their own (first of a pair).
        may_be_partner: Whether they may be the partner of an anchor, and references at inference.
        gets_pseudo_label: Whether seeds and pseudo masks are made for them, to train a segmenter on.
    """

    source: Source
    split: str = "train"
    may_be_anchor: bool = True
    may_be_partner: bool = True
    gets_pseudo_label: bool = True


class CombinedSource(Source):
    """A source with extra images in its training split. All other splits are those of the main source.

    Args:
        main: The data set. Its training images are anchors and partners and get pseudo labels.
        split: Its training split.
        extra_images: The extra images by name.

    Raises:
        ValueError: extra images with unknown classes, or an image id that is in more than one source.
    """

    def __init__(self, main: Source, split: str, extra_images: dict[str, ExtraImages]) -> None:
        self.main = main
        self.split = split
        self.extra_images = extra_images
        self.class_names = main.class_names
        self.has_background = main.has_background
        self._columns = {name: self._columns_of(name, item) for name, item in extra_images.items()}
        self._ids = {name: item.source.ids(item.split) for name, item in extra_images.items()}
        self._origin = {image_id: name for name, ids in self._ids.items() for image_id in ids}
        everything = [*main.ids(split), *(image_id for ids in self._ids.values() for image_id in ids)]
        if len(set(everything)) < len(everything):
            twice = sorted(image_id for image_id, count in Counter(everything).items() if count > 1)
            raise ValueError(
                f"data.extra_images: the image ids {', '.join(twice[:5])} are in more than one of the "
                f"sources {', '.join(extra_images)} and split {split!r}; rename the files of one, since "
                "stages name their files after the ids"
            )

    def ids(self, split: str) -> list[str]:
        """Ids of a split; the training split includes the extra images that get pseudo labels."""
        return self._with_extra(split, "gets_pseudo_label")

    def anchors(self, split: str) -> list[str]:
        """Ids of a split with the extra images that may be anchors (first image of a pair)."""
        return self._with_extra(split, "may_be_anchor")

    def partners(self, split: str) -> list[str]:
        """Ids of a split with the extra images that may be partners or references."""
        return self._with_extra(split, "may_be_partner")

    def image(self, image_id: str) -> np.ndarray:
        return self._source(image_id).image(image_id)

    def image_file(self, image_id: str) -> Path | None:
        return self._source(image_id).image_file(image_id)

    def mask_file(self, image_id: str) -> Path | None:
        return None if image_id in self._origin else self.main.mask_file(image_id)

    def labels(self, image_id: str) -> np.ndarray:
        labels = self._source(image_id).labels(image_id)
        if image_id not in self._origin:
            return labels
        placed = np.zeros(len(self.class_names), np.float32)
        placed[self._columns[self._origin[image_id]]] = labels
        return placed

    def mask(self, image_id: str) -> np.ndarray:
        if image_id in self._origin:
            raise ValueError(
                f"image {image_id!r} is of the extra source {self._origin[image_id]!r}, whose masks are "
                "never used; set gets_pseudo_label: false to exclude it from scoring and training with masks"
            )
        return self.main.mask(image_id)

    def captions(self, image_id: str) -> tuple[str, ...]:
        return self._source(image_id).captions(image_id)

    def files(self, split: str, part: str) -> list[FileSet] | None:
        """The files of the main source and, for its training split, of the extra images without masks."""
        found = [("", self.main.files(split, part))]
        if split == self.split and part != "masks":
            found += [
                (f"{name}: ", item.source.files(item.split, part)) for name, item in self.extra_images.items()
            ]
        sets: list[FileSet] = []
        for prefix, files in found:
            if files is None:
                return None
            sets += [one._replace(prefix=prefix + one.prefix) for one in files]
        return sets

    def _source(self, image_id: str) -> Source:
        return self.extra_images[self._origin[image_id]].source if image_id in self._origin else self.main

    def _with_extra(self, split: str, role: str) -> list[str]:
        ids = self.main.ids(split)
        if split != self.split:
            return ids
        joined = [self._ids[name] for name, item in self.extra_images.items() if getattr(item, role)]
        return [*ids, *(image_id for ids in joined for image_id in ids)]

    def _columns_of(self, name: str, item: ExtraImages) -> list[int]:
        unknown = [c for c in item.source.class_names if c not in self.class_names]
        if unknown:
            raise ValueError(
                f"data.extra_images.{name} has {len(unknown)} classes that the data set does not have, first "
                f"{unknown[0]!r} ({nearest_names(unknown[0], self.class_names)}); remove them and their "
                "images from its lists, or rename them"
            )
        return [self.class_names.index(c) for c in item.source.class_names]
