"""Parses annotation files in the format of COCO: one pass that checks every entry and keeps what is needed.

Files come from many tools (CVAT, Label Studio, Roboflow, own scripts), which leave out fields or fill them in
their own way. What can be recovered exactly is: a missing `area` is computed, a missing `iscrowd` is 0, a
missing size is that of the picture. Anything else is refused with the ids of the annotations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from wsss_bench.artifacts.images import image_size
from wsss_bench.data.sources.annotation_index import Parsed
from wsss_bench.data.sources.base import require_inside
from wsss_bench.data.sources.coco_segmentation import area_of, compact, fault_of, packed, without_degenerate
from wsss_bench.data.sources.text_files import read_json_text

_UNUSED = ("bbox", "coco_url", "flickr_url", "date_captured", "license")
_CHUNK = 65_536
"""Annotations whose coordinates are compared with their images at once."""


class _Object(NamedTuple):
    """One annotation."""

    category: int  # position of the category in the order of the ids
    area: float
    segmentation: Any  # list of flat float64 polygons, or run lengths
    crowd: bool


class _Image(NamedTuple):
    """One image with its annotations in the order of their ids."""

    image_id: str
    name: str  # relative to the folder of images
    height: int
    width: int
    sized_by_picture: bool
    objects: list[_Object]


def parse_instances(path: Path, folder: Path, with_masks: bool) -> Parsed:
    """Read the images and objects of an annotation file; `coco_instances` has its columns.

    Args:
        path: The file.
        folder: Folder of the images.
        with_masks: Whether segmentations are needed. Without, only the labels are read, and boxes are enough.

    Raises:
        FileNotFoundError: no such file.
        ValueError: entries that cannot be used; up to five are named.
    """
    content = read_content(path, "images", "annotations", "categories")
    categories = category_names(content, path)
    position = {number: index for index, number in enumerate(categories)}
    images = _images_of(content, path, folder)
    faults: list[str] = []
    flat: list[str] = []
    annotations = sorted_by_id(content["annotations"], "annotation", path)
    for entry in annotations:
        image = _found(images, entry.get("image_id"))
        fault = _fault_of(entry, image, position, with_masks)
        if fault or image is None:
            faults.append(_named(entry, image, fault))
            continue
        segmentation = without_degenerate(entry["segmentation"]) if with_masks else []
        if with_masks and segmentation == []:
            flat.append(_named(entry, image, "only polygons of one or two points, which have no area"))
        area = entry["area"] if _is_positive(entry.get("area")) else area_of(segmentation)
        crowd = bool(entry.get("iscrowd"))
        image.objects.append(_Object(position[entry["category_id"]], area, segmentation, crowd))
    if with_masks and not faults:
        faults = list(_outside(annotations, images))
    if faults:
        more = f"; {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ValueError(
            f"{path}: {'; '.join(faults[:5])}{more}. Correct these entries, or export the file again"
        )
    header = {
        "categories": list(categories.values()),
        "ids": [image.image_id for image in images.values()],
        "names": [image.name for image in images.values()],
        "without_pixels": flat,
    }
    return Parsed(header, *_columns(list(images.values())))


def parse_captions(path: Path) -> Parsed:
    """Read the captions of an annotation file.

    Returns:
        The image ids (`ids` of the header), and for each a JSON list of its captions.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an entry that cannot be used.
    """
    content = read_content(path, "images", "annotations")
    image_ids = {
        entry["id"]: image_id_of(entry, path) for entry in sorted_by_id(content["images"], "image", path)
    }
    captions: dict[str, list[str]] = {}
    for entry in sorted_by_id(content["annotations"], "annotation", path):
        caption, image_id = entry.get("caption"), _found(image_ids, entry.get("image_id"))
        if image_id is None or not isinstance(caption, str) or not caption.strip():
            raise ValueError(
                f"{path}: annotation {entry['id']!r} has the image_id {entry.get('image_id')!r} and the "
                f"caption {caption!r}; expected a listed image and a text"
            )
        captions.setdefault(image_id, []).append(" ".join(caption.split()))
    return Parsed({"ids": list(captions)}, {}, [json.dumps(found).encode() for found in captions.values()])


def require_json(path: Path) -> None:
    """Raise `FileNotFoundError` where an annotation file does not exist; the message lists those there."""
    if not path.is_file():
        known = ", ".join(sorted(file.name for file in path.parent.glob("*.json"))) or "none"
        raise FileNotFoundError(f"{path} does not exist; annotation files there: {known}")


def read_content(path: Path, *needed: str) -> dict[str, list[Any]]:
    """The lists of an annotation file.

    Args:
        path: The json.
        needed: Lists that it must have: `images`, `annotations`, `categories`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON, or other content.
    """
    require_json(path)
    content = read_json_text(path, _slim)
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, like a file of results; expected an object with "
            f"{', '.join(needed)}"
        )
    for name in needed:
        if not isinstance(content.get(name), list):
            raise ValueError(
                f"{path} has no list {name!r}; expected an object with {', '.join(needed)}, as COCO has them"
            )
    return content


def sorted_by_id(entries: Iterable[Any], kind: str, path: Path) -> list[dict[str, Any]]:
    """Entries of one list in the order of their ids.

    Raises:
        ValueError: an entry without id, or with that of another one.
    """
    found: dict[Any, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        number = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(number, int | str) or isinstance(number, bool):
            raise ValueError(f"{path}: {kind} {position} (from 0) has the id {number!r}; expected an integer")
        if number in found:
            raise ValueError(f"{path} lists {kind} {number!r} twice; keep one, or give each an id of its own")
        found[number] = entry
    # texts behind numbers: one file has either
    return [found[number] for number in sorted(found, key=lambda number: (isinstance(number, str), number))]


def image_id_of(entry: dict[str, Any], path: Path) -> str:
    """The image id of an entry of `images`: its file name without suffix.

    Raises:
        ValueError: an entry without `file_name`, or with one that leads out of the folder of images.
    """
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{path}: image {entry['id']!r} has the file_name {name!r}; expected a text")
    require_inside(name, f"{path}: file_name of image {entry['id']!r}")
    return str(PurePosixPath(name).with_suffix(""))


def category_names(content: Mapping[str, list[Any]], path: Path) -> dict[Any, str]:
    """Names of the categories by id, in the order of the ids.

    A category that others name as their `supercategory`, and that no annotation has, is left out: Roboflow
    writes the project as one, often under the name of a class.

    Raises:
        ValueError: a category without id or name, or with those of another one.
    """
    names: dict[Any, str] = {}
    categories = sorted_by_id(content["categories"], "category", path)
    used = {str(entry.get("category_id")) for entry in content["annotations"]}
    above = {entry.get("supercategory") for entry in categories}
    for entry in categories:
        name = entry.get("name")
        twice = [one.get("name") for one in categories].count(name) > 1
        if twice and name in above and str(entry["id"]) not in used:
            continue
        if not isinstance(name, str) or not name or name in names.values():
            raise ValueError(
                f"{path}: category {entry['id']!r} has the name {name!r}; expected one of its own"
            )
        names[entry["id"]] = name
    return names


def _images_of(content: Mapping[str, list[Any]], path: Path, folder: Path) -> dict[Any, _Image]:
    """The images by their ids in the file, in the order of these."""
    images: dict[Any, _Image] = {}
    numbers: dict[str, Any] = {}
    for entry in sorted_by_id(content["images"], "image", path):
        image_id, number, name = image_id_of(entry, path), entry["id"], entry["file_name"]
        if image_id in numbers:
            other = numbers[image_id]
            raise ValueError(
                f"{path}: the images {other!r} ({images[other].name!r}) and {number!r} ({name!r}) have the "
                f"same id {image_id!r}, the file name without suffix; rename or remove one"
            )
        numbers[image_id] = number
        unsized = entry.get("height") is None or entry.get("width") is None
        images[number] = _Image(image_id, name, *_size_of(entry, folder / name, path), unsized, [])
    return images


def _columns(images: list[_Image]) -> tuple[dict[str, np.ndarray], list[bytes]]:
    """The numbers of all images as columns, and the segmentations of each image as bytes."""
    objects = [item for image in images for item in image.objects]
    pieces: list[bytes] = []
    object_bytes: list[int] = []
    polygon_count: list[int] = []
    polygon_bytes: list[int] = []
    for image in images:
        parts: list[bytes] = []
        for item in image.objects:
            polygons, content = packed(item.segmentation, image.height, image.width)
            parts.append(content)
            object_bytes.append(len(content))
            polygon_count.append(len(polygons))
            polygon_bytes += polygons
        pieces.append(b"".join(parts))
    return {
        "size": np.array([(image.height, image.width) for image in images], np.int32).reshape(-1, 2),
        "sized_by_picture": np.array([image.sized_by_picture for image in images], bool),
        "first_object": np.cumsum([0, *(len(image.objects) for image in images)], dtype=np.int64),
        "category": np.array([item.category for item in objects], np.int32),
        "crowd": np.array([item.crowd for item in objects], bool),
        "area": np.array([item.area for item in objects], np.float64),
        "bytes": np.array(object_bytes, np.int64),
        "first_polygon": np.cumsum([0, *polygon_count], dtype=np.int64),
        "polygon_bytes": np.array(polygon_bytes, np.int64),
    }, pieces


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """Drop unused keys and convert polygons as soon as an object is parsed, to save memory."""
    for name in _UNUSED:
        entry.pop(name, None)
    if "segmentation" in entry:
        entry["segmentation"] = compact(entry["segmentation"])
    return entry


def _size_of(entry: dict[str, Any], file: Path, path: Path) -> tuple[int, int]:
    """Height and width of an image; from the picture where the file does not say them."""
    height, width = entry.get("height"), entry.get("width")
    if height is None or width is None:
        if not file.is_file():
            raise ValueError(f"{path}: image {entry['id']!r} has no height and width, and there is no {file}")
        return image_size(file)
    if not (_is_positive(height) and _is_positive(width) and height == int(height) and width == int(width)):
        raise ValueError(
            f"{path}: image {entry['id']!r} ({entry['file_name']!r}) has height {height!r} and width "
            f"{width!r}; expected pixels"
        )
    return int(height), int(width)


def _found(table: Mapping[Any, Any], key: Any) -> Any:
    """The entry of an id, which may be anything in a file; None if there is none."""
    return table.get(key) if isinstance(key, int | str) else None


def _fault_of(
    entry: dict[str, Any], image: _Image | None, categories: Mapping[Any, int], with_masks: bool
) -> str:
    if image is None:
        return f"the image_id {entry.get('image_id')!r}, which is not listed in images"
    if _found(categories, entry.get("category_id")) is None:
        return f"the category_id {entry.get('category_id')!r}, which is not listed in categories"
    if (entry.get("iscrowd") or 0) not in (0, 1):
        return f"iscrowd {entry['iscrowd']!r}; expected 0 or 1"
    return fault_of(entry.get("segmentation"), image.height, image.width) if with_masks else ""


def _named(entry: dict[str, Any], image: _Image | None, text: str) -> str:
    of_image = "" if image is None else f" of image {PurePosixPath(image.name).name!r}"
    return f"annotation {entry['id']!r}{of_image} has {text}"


def _is_positive(number: Any) -> bool:
    return (
        isinstance(number, int | float)
        and not isinstance(number, bool)
        and math.isfinite(number)
        and number > 0
    )


def _outside(annotations: list[dict[str, Any]], images: Mapping[Any, _Image]) -> Iterator[str]:
    """Annotations with a polygon that is not finite or wholly outside its image.

    All coordinates of many annotations are compared at once, since COCO train has thirty million.
    """
    largest = 0.0
    for start in range(0, len(annotations), _CHUNK):
        owners, polygons = [], []
        for entry in annotations[start : start + _CHUNK]:
            if isinstance(entry["segmentation"], list):
                polygons += entry["segmentation"]
                owners += [entry] * len(entry["segmentation"])
        if not polygons:
            continue
        points = np.concatenate(polygons).reshape(-1, 2)  # (P, 2) x, y
        first = np.cumsum([0, *(polygon.size // 2 for polygon in polygons[:-1])])
        low, high = np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)  # NaN propagates
        sizes = np.array([(p.width, p.height) for p in (images[entry["image_id"]] for entry in owners)])
        inside = ((low <= sizes) & (high >= 0) & np.isfinite(low) & np.isfinite(high)).all(axis=1)
        for index in np.flatnonzero(~inside):
            entry = owners[index]
            image = images[entry["image_id"]]
            yield _named(
                entry, image,
                f"a polygon from x, y = {low[index].tolist()} to {high[index].tolist()}, outside its image "
                f"of {image.width}x{image.height} (width x height)",
            )  # fmt: skip
        largest = max(largest, float(high.max()))
    if 0 < largest <= 1:
        yield "all annotations have coordinates from 0 to 1, like shares of the image; expected pixels"
