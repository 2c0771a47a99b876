"""What a data set must answer, and how its files are read. Nothing here needs torch."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from difflib import get_close_matches
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from wsss_bench.artifacts.files import read_mask
from wsss_bench.types import IGNORE

_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_DEFAULTS = {"WSSS_DATA": "data"}
_EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


class Source(ABC):
    """A data set on disk: which images there are, and what is known of each.

    An image id is a string that is unique over all splits; files that stages write are named after it.
    """

    class_names: tuple[str, ...]
    """Foreground classes; label `c` is mask value `c + 1`."""
    has_background: bool = True
    """False where every pixel that counts belongs to a class: masks hold no 0, and nothing predicts one."""

    @abstractmethod
    def ids(self, split: str) -> list[str]:
        """Image ids of a split in their published order; an empty or inconsistent split is an error."""

    @abstractmethod
    def image(self, image_id: str) -> np.ndarray:
        """`(H, W, 3)` uint8 RGB."""

    @abstractmethod
    def labels(self, image_id: str) -> np.ndarray:
        """`(C,)` float32 multi-hot, from image-level annotation and never from a mask."""

    @abstractmethod
    def mask(self, image_id: str) -> np.ndarray:
        """`(H, W)` uint8 in {0..C, 255}. Only full supervision and evaluation may call this."""

    def captions(self, image_id: str) -> tuple[str, ...]:
        """Sentences that describe the image, at least one."""
        raise ValueError(
            f"{type(self).__name__} has no caption for image {image_id!r}; use a source that has captions "
            "(COCO, tar shards, a table, or the layout of VOC with a captions.json), or another `data.view`"
        )


def expand_root(root: str | Path) -> Path:
    """`root` with `~` and environment variables filled in; `WSSS_DATA` is `data` where it is not set.

    Raises:
        ValueError: a variable that is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        found = os.environ.get(name) or _DEFAULTS.get(name)
        if found is None:
            raise ValueError(
                f"root {str(root)!r} uses the environment variable {name}, which is not set; "
                f"export {name}=... or write the path itself"
            )
        return found

    return Path(_VARIABLE.sub(value, str(root))).expanduser()


def require_folder(root: Path, name: str, source: str) -> Path:
    """`root/name`, which must be a folder.

    Raises:
        FileNotFoundError: names what was looked for, and the setting that points at it.
    """
    folder = root / name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{source} expects a folder {name!r} in root={str(root)!r}, which "
            f"{'has none' if root.is_dir() else 'does not exist'}; point `data.source.init_args.root` "
            "(usually the environment variable WSSS_DATA) at the data, or prepare it as docs/data.md says"
        )
    return folder


class Unreadable(ValueError):
    """A picture or a text that is there, but cannot be decoded. Training on captions replaces the pair by another."""


def read_image(path: Path) -> np.ndarray:
    """Decode a picture as `(H, W, 3)` uint8 RGB; grey is repeated, transparency is dropped.

    Raises:
        FileNotFoundError: no such file.
        Unreadable: a truncated or broken file, or one with more than 8 bits a channel.
    """
    try:
        return decode_image(path, str(path))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"image {path} does not exist; restore it or take its id off the split"
        ) from None


def decode_image(file: Path | IO[bytes], name: str) -> np.ndarray:
    """`read_image` of a file or of bytes in memory; `name` is for messages."""
    try:
        with Image.open(file) as image:
            if image.mode not in _EIGHT_BIT_MODES:
                raise Unreadable(
                    f"{name} is a {image.mode} image; expected 8 bits a channel (grey, RGB or RGBA): "
                    "convert it"
                )
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except FileNotFoundError:
        raise
    # PIL reports a broken PNG as a SyntaxError, and refuses pictures of more than 179 megapixels
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "of no format that is known" if isinstance(error, UnidentifiedImageError) else error
        raise Unreadable(
            f"image {name} cannot be decoded ({reason}); replace it with an intact copy"
        ) from error


def image_size(path: Path) -> tuple[int, int]:
    """`(H, W)` from the header of a picture, without decoding it."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        raise ValueError(f"image {path} cannot be read ({error}); replace it with an intact copy") from error


def read_checked_mask(path: Path, image_path: Path, num_classes: int) -> np.ndarray:
    """Read the mask of an image as `(H, W)` uint8.

    Raises:
        FileNotFoundError: no such mask.
        ValueError: a colour image, another size than the image's, or values outside {0..C, 255}.
    """
    mask = read_sized_mask(path, image_path)
    unknown = unknown_values(mask, num_classes)
    if unknown:
        raise ValueError(
            f"mask {path} holds the values {unknown}; expected 0 (background), 1..{num_classes} (classes) "
            f"and {IGNORE} (ignored). Is the vocabulary the one that the masks were made with?"
        )
    return mask


def read_sized_mask(path: Path, image_path: Path) -> np.ndarray:
    """Read the mask of an image as `(H, W)` uint8, whatever its values mean.

    Raises:
        FileNotFoundError: no such mask.
        ValueError: a colour image, or another size than the image's.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"image {image_path} has no mask {path}; check the folder of masks or the split"
        )
    mask = read_mask(path)
    expected = image_size(image_path)
    if mask.shape != expected:
        raise ValueError(
            f"mask {path} is {mask.shape[0]}x{mask.shape[1]} (height x width), but its image {image_path} is "
            f"{expected[0]}x{expected[1]}; a mask has the original size of its image"
        )
    return mask


def unknown_values(mask: np.ndarray, num_classes: int) -> list[int]:
    """Values of a uint8 mask that are neither background, nor one of the classes, nor ignored."""
    found = np.flatnonzero(cv2.calcHist([mask], [0], None, [256], [0, 256]))  # twice as fast as bincount
    return [int(value) for value in found if num_classes < value != IGNORE]


def require_ids(ids: list[str], split: str, origin: Path) -> list[str]:
    """`ids`, unless there are none or one comes twice."""
    if not ids:
        raise ValueError(
            f"split {split!r} is empty: {origin} lists no image; choose another split or fill it"
        )
    if len(set(ids)) != len(ids):
        twice = sorted({image_id for image_id in ids if ids.count(image_id) > 1})
        raise ValueError(
            f"{origin} lists {', '.join(twice[:5])} more than once in split {split!r}; keep one of each"
        )
    return ids


def nearest_names(name: str, class_names: tuple[str, ...]) -> str:
    """The part of an error message that says what an unknown class name may have meant."""
    near = get_close_matches(name, class_names, n=3, cutoff=0.5)
    return f"nearest known names: {', '.join(near)}" if near else f"known names: {', '.join(class_names)}"
