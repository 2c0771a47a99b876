"""Interface of all data sources, and functions that read their files. This module does not import torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from difflib import get_close_matches
from pathlib import Path

import cv2
import numpy as np

from wsss_bench.artifacts.files import read_mask
from wsss_bench.artifacts.images import UPRIGHT, size_and_orientation
from wsss_bench.data.sources.files import FileSet, by_content, by_size
from wsss_bench.types import IGNORE
from wsss_bench.variables import expand_variables

_BULK = {".jpg", ".jpeg", ".webp", ".tar"}
"""Suffixes of files that are compared by size where a source does not say what it reads."""


class Source(ABC):
    """A data set on disk: its splits, and the image, labels, mask and captions of each image id.

    An image id is a string that is unique over all splits; stages name their files after it. It may contain
    folders: `a/b/img`.
    """

    class_names: tuple[str, ...]
    """Foreground classes; label `c` is mask value `c + 1`."""
    has_background: bool = True
    """False if all scored pixels belong to a class: masks have no 0, and predictions have no background."""

    @abstractmethod
    def ids(self, split: str) -> list[str]:
        """Image ids of a split in their published order.

        Raises:
            FileNotFoundError: a file of the split does not exist.
            ValueError: an unknown, empty or inconsistent split.
        """

    @abstractmethod
    def image(self, image_id: str) -> np.ndarray:
        """`(H, W, 3)` uint8 RGB."""

    @abstractmethod
    def labels(self, image_id: str) -> np.ndarray:
        """`(C,)` float32 multi-hot image labels, from image-level annotation and never from a mask."""

    @abstractmethod
    def mask(self, image_id: str) -> np.ndarray:
        """Ground truth `(H, W)` uint8 in {0..C, 255}, for full supervision and evaluation only."""

    def image_file(self, image_id: str) -> Path | None:
        """The file of an image; None where it has none of its own."""
        return None

    def mask_file(self, image_id: str) -> Path | None:
        """The file of a mask, which need not exist; None where masks are made of other files."""
        return None

    def files(self, split: str, part: str) -> list[FileSet] | None:
        """The files that are read for a split. The bench computes stages again when these files change.

        A source of your own need not define it. All files below `root` without a dot before their names then
        count for each split: pictures (`.jpg`, `.jpeg`, `.webp`) and `.tar` by their size, others by content.

        Args:
            split: The split.
            part: `lists` (which images there are, and of which classes), `images`, `labels`, `masks` or
                `captions`.

        Returns:
            The files, none for a part that has no files of its own; None if they are unknown, because the
            source has no `root`.

        Raises:
            FileNotFoundError: a list of the split does not exist.
            ValueError: an unknown or inconsistent split.
        """
        root = getattr(self, "root", None)
        if root is None:
            return None
        if part != "lists":
            return []
        root = expand_root(root)
        public = [
            path
            for path in sorted(root.rglob("*"))
            if path.is_file() and not any(name.startswith(".") for name in path.relative_to(root).parts)
        ]
        return [
            FileSet(root, [path for path in public if path.suffix.lower() not in _BULK], by_content),
            FileSet(root, [path for path in public if path.suffix.lower() in _BULK], by_size),
        ]

    def captions(self, image_id: str) -> tuple[str, ...]:
        """Captions of the image, at least one."""
        raise ValueError(
            f"{type(self).__name__} has no caption for image {image_id!r}; use a source that has captions "
            "(COCO, tar shards, a table, or the layout of VOC with a captions.json), or another `data.view`"
        )


def expand_root(root: str | Path) -> Path:
    """Expand `~` and environment variables in `root`, see `expand_variables`."""
    return Path(expand_variables(str(root))).expanduser()


def require_folder(root: Path, name: str, source: str) -> Path:
    """`root/name`, which must be a folder.

    Raises:
        FileNotFoundError: it does not exist; the message names the folder and the setting to change.
    """
    folder = root / name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{source} expects a folder {name!r} in root={str(root)!r}, which "
            f"{'has none' if root.is_dir() else 'is no folder' if root.exists() else 'does not exist'}; "
            "point `data.source.init_args.root` "
            "(usually the environment variable WSSS_DATA) at the data, or prepare it as docs/data.md says"
        )
    return folder


def read_checked_mask(path: Path, image_path: Path, num_classes: int) -> np.ndarray:
    """Read the mask of an image as `(H, W)` uint8.

    Raises:
        FileNotFoundError: the mask does not exist.
        ValueError: a colour image, a size other than that of the image, or values outside {0..C, 255}.
    """
    mask = read_sized_mask(path, image_path)
    require_known_values(mask, path, num_classes)
    return mask


def require_known_values(mask: np.ndarray, path: Path, num_classes: int) -> None:
    """Raise `ValueError` for a mask, read from `path`, with values outside {0..C, 255}."""
    unknown = unknown_values(mask, num_classes)
    if unknown:
        raise ValueError(
            f"mask {path} holds the values {unknown}; expected 0 (background), 1..{num_classes} (classes) "
            f"and {IGNORE} (ignored). Is the vocabulary the one that the masks were made with, and do they "
            "show classes, not instances (SegmentationObject)?"
        )


def read_sized_mask(path: Path, image_path: Path) -> np.ndarray:
    """Read the mask of an image as `(H, W)` uint8 without checking its values.

    Raises:
        FileNotFoundError: the mask does not exist.
        ValueError: a colour image, or a size other than that of the image.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"image {image_path} has no mask {path}; check the folder of masks or the split"
        )
    mask = read_mask(path)
    expected, orientation = size_and_orientation(image_path)
    if mask.shape != expected:
        turned = (
            f" after its EXIF orientation ({orientation}), which is applied to images; a mask has the size "
            "of the upright image: turn the mask, or remove the orientation from the image"
            if orientation != UPRIGHT
            else "; a mask has the original size of its image"
        )
        raise ValueError(
            f"mask {path} is {mask.shape[0]}x{mask.shape[1]} (height x width), but its image {image_path} is "
            f"{expected[0]}x{expected[1]}{turned}"
        )
    return mask


def unknown_values(mask: np.ndarray, num_classes: int) -> list[int]:
    """Values of a uint8 mask outside {0..C, 255}."""
    if (mask + np.uint8(1)).max() <= num_classes + 1:  # ignored pixels become 0; nearly always
        return []
    return [value for value in np.flatnonzero(values_in(mask)).tolist() if num_classes < value != IGNORE]


def values_in(mask: np.ndarray) -> np.ndarray:
    """Which values a uint8 mask has, `(256,)` bool.

    Masks are made of areas, so that most pixels repeat those before them. Eight at a time are compared with
    the eight before, and only those that differ are counted: twice as fast as counting all.
    """
    pixels = mask.ravel()
    rest = pixels.size % 8
    eights = pixels[: pixels.size - rest].view(np.uint64)
    changed = eights[1:][eights[1:] != eights[:-1]].view(np.uint8)
    found = np.concatenate([pixels[:8], changed, pixels[pixels.size - rest :]])
    return cv2.calcHist([found], [0], None, [256], [0, 256]).ravel() > 0


def require_ids(ids: list[str], split: str, origin: Path) -> list[str]:
    """Return `ids`; raise `ValueError` if there are none, if one is listed twice or cannot name a file."""
    if not ids:
        raise ValueError(
            f"split {split!r} is empty: {origin} lists no image; choose another split or fill it"
        )
    if len(set(ids)) != len(ids):
        twice = sorted(image_id for image_id, count in Counter(ids).items() if count > 1)
        raise ValueError(
            f"{origin} lists {', '.join(twice[:5])} more than once in split {split!r}; keep one of each"
        )
    for image_id in ids:
        require_inside(image_id, str(origin))
    return ids


def require_inside(name: str, where: str) -> str:
    """Return the relative path `name` of a file; raise `ValueError` if it could leave its folder.

    Args:
        name: File name or image id, with `/` between folders.
        where: Where it is written, for the message.
    """
    if not name or name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
        raise ValueError(
            f"{where}: {name!r} is no path below the folder of the images; expected a relative one without "
            "'..', with / between folders"
        )
    return name


def nearest_names(name: str, class_names: tuple[str, ...]) -> str:
    """Part of an error message: the class names that are most similar to an unknown one, or all of them."""
    near = get_close_matches(name, class_names, n=3, cutoff=0.5)
    return f"nearest known names: {', '.join(near)}" if near else f"known names: {', '.join(class_names)}"
