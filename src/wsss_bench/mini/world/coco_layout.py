"""The mini world in the layout of MS COCO 2014.

`train2014/`, `val2014/`, `annotations/instances_<part>.json`, `annotations/captions_<part>.json`. It has the
difficult cases of COCO: category ids with gaps, image ids that are not consecutive, `iscrowd` regions (the
third and later instances of a class in one region), images without annotation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from wsss_bench.mini.world.samples import Sample
from wsss_bench.mini.world.scenes import CLASS_NAMES, IMAGE_SIZE

CATEGORY_IDS = (5, 9, 16, 19, 26, 33, 41, 50)  # of CLASS_NAMES in order, with gaps


def image_number(index: int) -> int:
    """COCO's image id of the index-th image of a part: 9, 25, 30, 46, ..."""
    return 9 + 21 * (index // 2) + 16 * (index % 2)


def file_name(part: str, number: int) -> str:
    """`COCO_train2014_000000000009.jpg`."""
    return f"COCO_{part}_{number:012d}.jpg"


def image_entry(part: str, number: int) -> dict[str, Any]:
    """Entry of an image in the `images` list."""
    name = file_name(part, number)
    return {"id": number, "file_name": name, "width": IMAGE_SIZE, "height": IMAGE_SIZE, "license": 1}


def instance_entries(sample: Sample, number: int) -> list[dict[str, Any]]:
    """Entries of one image in the `annotations` list, with ids unique in the part.

    Ordinary instances are stored as compressed RLE, crowds as the uncompressed RLE that COCO uses for them.
    """
    instance = sample.rendering.instance
    regions: list[tuple[int, bool, NDArray[np.bool_]]] = []
    for label in sample.scene.labels:
        of_class = [k for k, obj in enumerate(sample.objects, start=1) if obj.label == label]
        masks = [instance == number for number in of_class]
        regions += [(label, False, mask) for mask in masks[:2]]
        if len(masks) > 2:
            regions.append((label, True, np.logical_or.reduce(masks[2:])))
    return [
        {
            "id": number * 100 + position,
            "image_id": number,
            "category_id": CATEGORY_IDS[label],
            "iscrowd": int(crowd),
            "segmentation": _uncompressed(mask) if crowd else _compressed(mask),
            "area": int(mask.sum()),
            "bbox": _box(mask),
        }
        for position, (label, crowd, mask) in enumerate(regions)
    ]


def caption_entries(sample: Sample, number: int) -> list[dict[str, Any]]:
    """Entries of one image in the `annotations` list of the captions file."""
    return [
        {"id": number * 100 + position, "image_id": number, "caption": sentence}
        for position, sentence in enumerate(sample.captions)
    ]


def category_entries() -> list[dict[str, Any]]:
    """Entries of the `categories` list."""
    return [
        {"id": number, "name": name, "supercategory": "mini"}
        for number, name in zip(CATEGORY_IDS, CLASS_NAMES, strict=True)
    ]


def _compressed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def _uncompressed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    # the first run of COCO's RLE counts zeros
    flat = np.concatenate([[False], mask.ravel(order="F")])
    starts = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], starts, [mask.size]])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def _box(mask: NDArray[np.bool_]) -> list[int]:
    """Left, top, width, height of the pixels of a mask."""
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    return [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
