"""Images on disk and in memory: 8 bits per channel, as `(H, W, 3)` uint8 RGB."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


class Unreadable(ValueError):
    """An image or a text that exists but cannot be decoded; the caption view replaces such a pair."""


def read_image(path: Path) -> np.ndarray:
    """Decode an image as `(H, W, 3)` uint8 RGB; a grey channel is repeated, transparency is dropped.

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
    """A PIL image as `(H, W, 3)` uint8 RGB.

    Raises:
        Unreadable: it has more than 8 bits per channel.
    """
    _require_eight_bits(image, name)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """`(H, W)` from the header of an image, without decoding it.

    Raises:
        Unreadable: no file, or one that is no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable(f"image {path} cannot be read ({error}); replace it with an intact copy") from error


def check_header(path: Path) -> None:
    """Check that a file is an image that `read_image` takes, without decoding it.

    Raises:
        Unreadable: it is none.
    """
    image_size(path)
    with Image.open(path) as image:
        _require_eight_bits(image, str(path))


def _require_eight_bits(image: Image.Image, name: str) -> None:
    if image.mode not in EIGHT_BIT_MODES:
        raise Unreadable(
            f"{name} is a {image.mode} image; expected 8 bits per channel (grey, RGB or RGBA): convert it"
        )
