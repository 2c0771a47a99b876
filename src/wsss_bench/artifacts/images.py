"""Images on disk and in memory: 8 bits per channel, as `(H, W, 3)` uint8 RGB, upright.

The orientation that a camera writes into the header (EXIF) is applied wherever an image or its size is read,
so that all sizes, score maps and masks are those of the upright image. Masks have no orientation.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


JPEG_END = b"\xff\xd9"
UPRIGHT = 1
QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""


class Unreadable(ValueError):
    """An image or a text that exists but cannot be decoded; the caption view replaces such a pair."""


def read_image(path: Path) -> np.ndarray:
    """Decode an image as `(H, W, 3)` uint8 RGB, upright; grey is repeated, transparency is dropped.

    Raises:
        FileNotFoundError: the file does not exist.
        Unreadable: a truncated or broken file, or one with more than 8 bits per channel.
    """
    try:
        return decode_image(path, str(path))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"image {path} does not exist; restore it or remove its id from the split"
        ) from None


def decode_image(file: Path | IO[bytes], name: str) -> np.ndarray:
    """`read_image` of a file or of bytes in memory; `name` is used in error messages."""
    try:
        with Image.open(file) as image:
            return rgb_array(image, name)
    except FileNotFoundError:
        raise
    # PIL reports a broken PNG as a SyntaxError, and images of more than 179 megapixels as a bomb
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise Unreadable(
            f"image {name} cannot be decoded ({reason}); replace it with an intact copy"
        ) from error


def rgb_array(image: Image.Image, name: str) -> np.ndarray:
    """A PIL image as `(H, W, 3)` uint8 RGB, upright.

    Raises:
        Unreadable: it has more than 8 bits per channel.
    """
    _require_eight_bits(image.mode, name)
    if _orientation(image) != UPRIGHT:
        image = ImageOps.exif_transpose(image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def check_decodes(path: Path) -> int:
    """Check that `read_image` takes a file to its end; a JPEG at a tenth of the cost.

    The decoder raises for the header of a JPEG and for an end that is missing, and forgives all between. A
    JPEG with both is therefore read, but not decoded.

    Returns:
        The EXIF orientation of the image, 1 for one that is stored upright.

    Raises:
        FileNotFoundError, Unreadable: as `read_image`.
    """
    try:
        content = path.read_bytes()
        header = _header_of(path)
        if header.format in ("JPEG", "MPO") and content.endswith(JPEG_END):
            _require_eight_bits(header.mode, str(path))
            return header.orientation
    except (OSError, SyntaxError, Image.DecompressionBombError):
        header = None
    read_image(path)  # says what is wrong
    return header.orientation if header else UPRIGHT


def image_size(path: Path) -> tuple[int, int]:
    """`(H, W)` of the upright image, from its header.

    Raises:
        Unreadable: no file, or one that is no image.
    """
    size, _ = size_and_orientation(path)
    return size


def size_and_orientation(path: Path) -> tuple[tuple[int, int], int]:
    """`(H, W)` of the upright image, and the EXIF orientation that makes it so, from its header.

    The orientation is 1 for an image that is stored upright, 3 if it is turned by half, 6 and 8 by a quarter.

    Raises:
        Unreadable: no file, or one that is no image.
    """
    header = _readable_header(path)
    size = (header.height, header.width)
    return size if header.orientation not in QUARTER_TURNS else size[::-1], header.orientation


def check_header(path: Path) -> None:
    """Check that a file is an image that `read_image` takes, without decoding it.

    Raises:
        Unreadable: it is none.
    """
    _require_eight_bits(_readable_header(path).mode, str(path))


class _Header(NamedTuple):
    format: str | None
    mode: str
    height: int  # as stored
    width: int
    orientation: int


def _readable_header(path: Path) -> _Header:
    try:
        return _header_of(path)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable(f"image {path} cannot be read ({error}); replace it with an intact copy") from error


def _header_of(path: Path) -> _Header:
    stat = os.stat(path)
    return _read_header(path, (stat.st_size, stat.st_mtime_ns, stat.st_ino))


@lru_cache(maxsize=1)  # a check of an image is followed by that of its mask, which has to be as large
def _read_header(path: Path, version: tuple[int, ...]) -> _Header:
    """Read the header of one version of a file."""
    with Image.open(path) as image:
        return _Header(image.format, image.mode, image.height, image.width, _orientation(image))


def _require_eight_bits(mode: str, name: str) -> None:
    if mode not in EIGHT_BIT_MODES:
        raise Unreadable(
            f"{name} is a {mode} image; expected 8 bits per channel (grey, RGB or RGBA): convert it"
        )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied."""
    if image.format == "TIFF":  # PIL applies it itself
        return UPRIGHT
    if image.format == "PNG" and "exif" not in image.info:  # to look behind the pixels would decode them
        return UPRIGHT
    found = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    return found if found in range(1, 9) else UPRIGHT
