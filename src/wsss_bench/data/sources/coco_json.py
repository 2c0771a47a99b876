"""Annotation files in the format of COCO: one pass that checks every entry and keeps what is needed.

Files come from many tools (CVAT, Label Studio, Roboflow, own scripts), which leave out fields or fill them in
their own way. What can be recovered exactly is: a missing `area` is computed, a missing `iscrowd` is 0, a
missing size is that of the picture. Anything else is refused with the ids of the annotations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from wsss_bench.artifacts.images import image_size
from wsss_bench.data.sources.base import require_inside
from wsss_bench.data.sources.coco_segmentation import area_of, compact, fault_of, without_degenerate
from wsss_bench.data.sources.text_files import read_json_text
from wsss_bench.types import IGNORE

_UNUSED = ("bbox", "coco_url", "flickr_url", "date_captured", "license")
_CHUNK = 65_536
"""Annotations whose coordinates are compared with their images at once."""


class CocoObject(NamedTuple):
    """One annotation."""

    value: int  # mask value: 1..C, 255 (crowds, and other categories that are ignored), 0 (other categories)
    area: float
    segmentation: Any  # list of flat float64 polygons, or run lengths
    crowd: bool


class Picture(NamedTuple):
    """One image with its annotations in the order of their ids."""

    path: Path
    height: int
    width: int
    objects: list[CocoObject]


def read_content(path: Path, *needed: str) -> dict[str, list[Any]]:
    """The lists of an annotation file.

    Args:
        path: The json.
        needed: Lists that it must have: `images`, `annotations`, `categories`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON, or other content.
    """
    if not path.is_file():
        known = ", ".join(sorted(file.name for file in path.parent.glob("*.json"))) or "none"
        raise FileNotFoundError(f"{path} does not exist; annotation files there: {known}")
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


def pictures_of(
    content: Mapping[str, list[Any]], path: Path, folder: Path, value: Mapping[Any, int], with_masks: bool
) -> tuple[dict[str, Picture], list[str]]:
    """Images and objects of an annotation file.

    Args:
        content: Its lists.
        path: The file, for messages.
        folder: Folder of the images.
        value: Mask value of each category, by category id.
        with_masks: Whether segmentations are needed. Without, only the labels are read, and boxes are enough.

    Returns:
        The images by image id, in the order of their ids in the file; and a sentence for each object that has
        no pixels.

    Raises:
        ValueError: entries that cannot be used; up to five are named.
    """
    pictures: dict[Any, Picture] = {}
    image_ids: dict[str, Any] = {}
    for entry in sorted_by_id(content["images"], "image", path):
        image_id, number = image_id_of(entry, path), entry["id"]
        if image_id in image_ids:
            other = pictures[image_ids[image_id]].path.relative_to(folder).as_posix()
            raise ValueError(
                f"{path}: the images {image_ids[image_id]!r} ({other!r}) and {number!r} "
                f"({entry['file_name']!r}) have the same id {image_id!r}, the file name without suffix; "
                "rename or remove one"
            )
        image_ids[image_id] = number
        file = folder / entry["file_name"]
        pictures[number] = Picture(file, *_size_of(entry, file, path), [])
    faults: list[str] = []
    flat: list[str] = []
    annotations = sorted_by_id(content["annotations"], "annotation", path)
    for entry in annotations:
        picture = _found(pictures, entry.get("image_id"))
        fault = _fault_of(entry, picture, value, with_masks)
        if fault or picture is None:
            faults.append(_named(entry, picture, fault))
            continue
        segmentation = without_degenerate(entry["segmentation"]) if with_masks else []
        if with_masks and segmentation == []:
            flat.append(_named(entry, picture, "only polygons of one or two points, which have no area"))
        area = entry["area"] if _is_positive(entry.get("area")) else area_of(segmentation)
        crowd = bool(entry.get("iscrowd"))
        mask_value = IGNORE if crowd else value[entry["category_id"]]
        picture.objects.append(CocoObject(mask_value, area, segmentation, crowd))
    if with_masks and not faults:
        faults = list(_outside(annotations, pictures))
    if faults:
        more = f"; {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ValueError(
            f"{path}: {'; '.join(faults[:5])}{more}. Correct these entries, or export the file again"
        )
    return {image_id: pictures[number] for image_id, number in image_ids.items()}, flat


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
    entry: dict[str, Any], picture: Picture | None, value: Mapping[Any, int], with_masks: bool
) -> str:
    if picture is None:
        return f"the image_id {entry.get('image_id')!r}, which is not listed in images"
    if _found(value, entry.get("category_id")) is None:
        return f"the category_id {entry.get('category_id')!r}, which is not listed in categories"
    if (entry.get("iscrowd") or 0) not in (0, 1):
        return f"iscrowd {entry['iscrowd']!r}; expected 0 or 1"
    return fault_of(entry.get("segmentation"), picture.height, picture.width) if with_masks else ""


def _named(entry: dict[str, Any], picture: Picture | None, text: str) -> str:
    image = "" if picture is None else f" of image {picture.path.name!r}"
    return f"annotation {entry['id']!r}{image} has {text}"


def _is_positive(number: Any) -> bool:
    return (
        isinstance(number, int | float)
        and not isinstance(number, bool)
        and math.isfinite(number)
        and number > 0
    )


def _outside(annotations: list[dict[str, Any]], pictures: Mapping[Any, Picture]) -> Iterator[str]:
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
        sizes = np.array([(p.width, p.height) for p in (pictures[entry["image_id"]] for entry in owners)])
        inside = ((low <= sizes) & (high >= 0) & np.isfinite(low) & np.isfinite(high)).all(axis=1)
        for index in np.flatnonzero(~inside):
            entry = owners[index]
            picture = pictures[entry["image_id"]]
            yield _named(
                entry, picture,
                f"a polygon from x, y = {low[index].tolist()} to {high[index].tolist()}, outside its image "
                f"of {picture.width}x{picture.height} (width x height)",
            )  # fmt: skip
        largest = max(largest, float(high.max()))
    if 0 < largest <= 1:
        yield "all annotations have coordinates from 0 to 1, like shares of the image; expected pixels"
