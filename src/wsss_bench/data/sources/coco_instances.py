"""The images and objects of one annotation file in the format of COCO, from its index.

Columns of the index, for `n` images, `m` objects and `p` polygons (`coco_json.parse_instances`):

| column | shape | content |
|---|---|---|
| `size` | (n, 2) | height and width |
| `sized_by_picture` | (n,) | whether they are those of the picture, since the json has none |
| `first_object` | (n + 1,) | the objects of image `i` are `first_object[i]` to `first_object[i + 1] - 1` |
| `category` | (m,) | position in the list of categories |
| `crowd`, `area` | (m,) | |
| `bytes` | (m,) | length of the segmentation in the piece of the image |
| `first_polygon` | (m + 1,) | as `first_object`; none for run lengths |
| `polygon_bytes` | (p,) | |
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsss_bench.artifacts.images import image_size
from wsss_bench.data.sources.annotation_index import Parsed, index_of
from wsss_bench.data.sources.coco_json import parse_instances, require_json
from wsss_bench.data.sources.coco_segmentation import unpacked


class Picture(NamedTuple):
    """One image with its objects in the order of their ids."""

    position: int
    path: Path
    height: int
    width: int
    category: np.ndarray  # (k,) int32 position in the list of categories
    crowd: np.ndarray  # (k,) bool
    area: np.ndarray  # (k,) float64 pixels


class Instances:
    """The content of an annotation file. It is parsed once for each content; see `annotation_index`.

    Args:
        path: The json.
        folder: Folder of its images.
        with_masks: Whether segmentations are needed; without, boxes are enough.

    Raises:
        FileNotFoundError: no such file.
        ValueError: entries that cannot be used.
    """

    def __init__(self, path: Path, folder: Path, with_masks: bool) -> None:
        self.path = path
        self.folder = folder
        require_json(path)
        parse = partial(parse_instances, path, folder, with_masks)
        self._index = index_of(path, "masks" if with_masks else "labels", parse, self._has_same_sizes)
        self._positions = {image_id: index for index, image_id in enumerate(self._index.header["ids"])}

    @property
    def categories(self) -> list[str]:
        """Names of the categories in the order of their ids."""
        return list(self._index.header["categories"])

    @property
    def without_pixels(self) -> list[str]:
        """A sentence for each object that has no pixels."""
        return list(self._index.header["without_pixels"])

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._positions

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __getitem__(self, image_id: str) -> Picture:
        position, columns = self._positions[image_id], self._index.columns
        first, end = columns["first_object"][position : position + 2]
        height, width = columns["size"][position].tolist()
        path = self.folder / self._index.header["names"][position]
        return Picture(
            position,
            path,
            height,
            width,
            *(columns[name][first:end] for name in ("category", "crowd", "area")),
        )

    def name(self, image_id: str) -> str:
        """File name of an image, relative to the folder."""
        return str(self._index.header["names"][self._positions[image_id]])

    def with_object(self, counts: np.ndarray) -> list[str]:
        """The images that show an object of a category that counts, crowd regions aside.

        Args:
            counts: `(number of categories,) bool`.
        """
        columns = self._index.columns
        owner = np.repeat(np.arange(len(self)), np.diff(columns["first_object"]))
        shown = np.zeros(len(self), bool)
        shown[owner[counts[columns["category"]] & ~columns["crowd"]]] = True
        return [image_id for image_id, keep in zip(self, shown.tolist(), strict=True) if keep]

    def segmentations(self, picture: Picture) -> list[Any]:
        """The segmentations of an image, in the order of its objects, for `coco_segmentation.decode`."""
        content = self._index.piece(picture.position)
        columns = self._index.columns
        first, end = columns["first_object"][picture.position : picture.position + 2]
        stops = np.cumsum(columns["bytes"][first:end]).tolist()
        starts = [0, *stops[:-1]]
        polygons = columns["first_polygon"][first : end + 1]
        return [
            unpacked(
                columns["polygon_bytes"][a:b].tolist(), content[start:stop], picture.height, picture.width
            )
            for a, b, start, stop in zip(polygons[:-1], polygons[1:], starts, stops, strict=True)
        ]

    def _has_same_sizes(self, parsed: Parsed) -> bool:
        """Whether the sizes that the json does not give are still those of the pictures."""
        try:
            return all(
                image_size(self.folder / parsed.header["names"][position])
                == tuple(parsed.columns["size"][position])
                for position in np.flatnonzero(parsed.columns["sized_by_picture"])
            )
        except (OSError, ValueError):  # the parser names the picture
            return False
