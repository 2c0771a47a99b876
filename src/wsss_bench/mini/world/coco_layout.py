"""The mini world as MS COCO 2014 lies on disk.

`train2014/`, `val2014/`, `annotations/instances_<part>.json`, `annotations/captions_<part>.json`. It has
what makes COCO awkward: category ids with gaps, image ids that are no running numbers, `iscrowd` regions (a
third and later instance of a class becomes one region together), images without any annotation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from wsss_bench.mini.world.grammar import CLASS_NAMES, IMAGE_SIZE
from wsss_bench.mini.world.samples import Sample

CATEGORY_IDS = (5, 9, 16, 19, 26, 33, 41, 50)  # of CLASS_NAMES, ascending with gaps


def image_number(index: int) -> int:
    """COCO's image id of the index-th image of a part: 9, 25, 30, 46, ..."""
    return 9 + 21 * (index // 2) + 16 * (index % 2)


def file_name(part: str, number: int) -> str:
    """`COCO_train2014_000000000009.jpg`."""
    return f"COCO_{part}_{number:012d}.jpg"


def image_entry(part: str, number: int) -> dict[str, Any]:
    """Entry of the `images` list."""
    name = file_name(part, number)
    return {"id": number, "file_name": name, "width": IMAGE_SIZE, "height": IMAGE_SIZE, "license": 1}


def instance_entries(sample: Sample, number: int) -> list[dict[str, Any]]:
    """Entries of the `annotations` list of one image, ids unique over the part.

    Ordinary instances are compressed RLE, crowds the uncompressed RLE that COCO uses for them.
    """
    instance = sample.rendering.instance
    regions: list[tuple[int, bool, NDArray[np.bool_]]] = []
    for label in sample.scene.labels:
        masks = [instance == k for k, placed in enumerate(sample.objects, start=1) if placed.label == label]
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
    """Entries of the captions file of one image."""
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
    flat = np.concatenate([[False], mask.ravel(order="F")])  # the first run counts zeros
    starts = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], starts, [mask.size]])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def _box(mask: NDArray[np.bool_]) -> list[int]:
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    return [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
