"""Masks of PASCAL Context from `trainval_merged.json` ("PASCAL in Detail"), in mmsegmentation's class order.

The json has `images` (`image_id`, `file_name`, `height`, `width`, `phase`: train or val) and
`annos_segmentation` (`id`, `image_id`, `category_id`, `segmentation` in run lengths). As in the detail API
and `convert_datasets/pascal_context.py` of mmsegmentation, all annotations of an image are painted in the
order of the file, a later one over an earlier one, and a class has the place of its id in `CATEGORY_IDS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wsss_bench.data.prepare.members import Content, Member
from wsss_bench.data.sources.coco_segmentation import decode, fault_of
from wsss_bench.data.sources.text_files import read_json_text

CATEGORY_IDS = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115,
    144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349,
    354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
"""Category id of each of the 59 classes of the vocabulary `context`, in its order."""
PHASES = ("train", "val")
_UNUSED = ("annos_occlusion", "annos_boundary", "annos_joints", "parts", "bbox", "edges", "boundary_mask")


class ContextJson:
    """The json as if it were an archive: `masks/<id>.png` and `lists/{train,val}.txt`.

    Args:
        path: The json.

    Raises:
        ValueError: another format; names the first wrong entry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_json_text(path, _slim)
        if not isinstance(content, dict) or not all(
            isinstance(content.get(key), list) for key in ("images", "annos_segmentation")
        ):
            raise ValueError(
                f"{path} has no lists `images` and `annos_segmentation`; expected trainval_merged.json of "
                "PASCAL in Detail"
            )
        try:
            self._images = {
                PurePosixPath(image["file_name"]).stem: image
                for image in content["images"]
                if image["phase"] in PHASES
            }
            self._painted: dict[Any, list[dict[str, Any]]] = {
                image["image_id"]: [] for image in content["images"]
            }
            for one in content["annos_segmentation"]:
                self._painted[one["image_id"]].append(one)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{path} has an entry without the key or the image {error}; expected trainval_merged.json of "
                "PASCAL in Detail"
            ) from error

    def members(self) -> list[Member]:
        masks = [Member(f"masks/{image_id}.png", None) for image_id in self._images]
        return [*masks, *(Member(f"lists/{phase}.txt", len(self._list(phase))) for phase in PHASES)]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, Content]]:
        for image_id in self._images:
            if (name := f"masks/{image_id}.png") in names:
                yield name, self._mask(image_id)
        for phase in PHASES:
            if (name := f"lists/{phase}.txt") in names:
                yield name, self._list(phase)

    def _list(self, phase: str) -> bytes:
        ids = sorted(i for i, image in self._images.items() if image["phase"] == phase)
        return "".join(f"{image_id}\n" for image_id in ids).encode()

    def _mask(self, image_id: str) -> np.ndarray:
        image = self._images[image_id]
        height, width = image["height"], image["width"]
        mask = np.zeros((height, width), np.uint8)
        for one in self._painted[image["image_id"]]:
            where = f"{self.path}: annotation {one.get('id')!r} of image {image_id!r}"
            if one.get("category_id") not in CATEGORY_IDS:
                raise ValueError(
                    f"{where} has the category {one.get('category_id')!r}, none of the 59 classes; expected "
                    "trainval_merged.json of PASCAL in Detail"
                )
            if fault := fault_of(one.get("segmentation"), height, width):
                raise ValueError(f"{where}: {fault}; replace the json with an intact copy")
            mask[decode(one["segmentation"], height, width)] = CATEGORY_IDS.index(one["category_id"]) + 1
        return mask


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """An object of the json without what is not used, which is most of it."""
    for key in _UNUSED:
        entry.pop(key, None)
    return entry
