"""Thumbnails as files: two sheets for each image, each a grid of pictures in one WebP.

The photograph and the score maps are lossy; truth, masks and error maps are lossless. A file is named by its
content, so that a page never shows the pictures of another one.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.report.html.errors import KINDS, error_map
from wsss_bench.report.html.thumbnails import Thumbnails

GAP = 2
"""Pixels between the pictures of a sheet. They repeat the rims of both: a browser that enlarges a picture may
show a part of them.
"""
LOSSY = {"quality": 82, "method": 2}
LOSSLESS = {"lossless": True, "quality": 20, "method": 1}


@dataclass
class Sheet:
    """Pictures of one size that become one file.

    Attributes:
        options: How Pillow writes it.
        pictures: `(h, w, 3)` uint8 each.
    """

    options: dict[str, Any]
    pictures: list[np.ndarray] = field(default_factory=list)

    def add(self, picture: np.ndarray) -> int:
        """Add a picture; returns its position."""
        self.pictures.append(picture)
        return len(self.pictures) - 1

    @property
    def columns(self) -> int:
        """Pictures in a row: as many as rows, since a side of a WebP has at most 16383 pixels."""
        return int(np.ceil(np.sqrt(len(self.pictures))))

    def encode(self) -> bytes:
        """The file."""
        rim = GAP // 2
        tiles = [np.pad(picture, ((rim, rim), (rim, rim), (0, 0)), "edge") for picture in self.pictures]
        height, width = tiles[0].shape[:2]
        rows = -(-len(tiles) // self.columns)
        sheet = np.zeros((rows * height, self.columns * width, 3), np.uint8)
        for position, tile in enumerate(tiles):
            top, left = position // self.columns * height, position % self.columns * width
            sheet[top : top + height, left : left + width] = tile
        inner = np.ascontiguousarray(sheet[rim:-rim, rim:-rim])
        buffer = io.BytesIO()
        Image.fromarray(inner).save(buffer, format="WEBP", **self.options)
        return buffer.getvalue()


@dataclass(frozen=True)
class ImageSheets:
    """The two sheets of an image, and where each picture is.

    Args:
        thumbnails: What they show.
        photos, masks: The sheets. The first picture is the photograph, and the truth.
        maps: Position of the score map in `photos`, by method.
        positions: Positions of a mask and of its error map in `masks`, by method and column.
    """

    thumbnails: Thumbnails
    photos: Sheet
    masks: Sheet
    maps: dict[str, int]
    positions: dict[tuple[str, str], tuple[int, int]]


def sheets_of(thumbnails: Thumbnails) -> ImageSheets:
    """Colour the pictures of an image and lay them out."""
    photos, masks = Sheet(LOSSY), Sheet(LOSSLESS)
    photos.add(thumbnails.photo)
    masks.add(_mask_colours()[thumbnails.truth])
    # sorted: they were read in any order, and equal pictures are to make equal files
    maps = {method: photos.add(_score_colours()[plane]) for method, plane in sorted(thumbnails.maps.items())}
    positions = {}
    for place, mask in sorted(thumbnails.masks.items()):
        errors = error_map(mask, thumbnails.truth)
        positions[place] = masks.add(_mask_colours()[mask]), masks.add(_error_colours()[errors])
    return ImageSheets(thumbnails, photos, masks, maps, positions)


def file_name(content: bytes) -> str:
    """The name of a sheet."""
    return f"{sha256(content).hexdigest()[:20]}.webp"


def class_colour(value: int) -> str:
    """Colour of a mask value, for style sheets."""
    return "#" + bytes(_mask_colours()[value].tolist()).hex()


@lru_cache(maxsize=1)
def _mask_colours() -> np.ndarray:
    return np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)


@lru_cache(maxsize=1)
def _error_colours() -> np.ndarray:
    return _colours([kind.colour for kind in KINDS])


@lru_cache(maxsize=1)
def _score_colours() -> np.ndarray:
    """The colours of scores from 0 to 1: of equal steps in lightness, for colour-blind readers too."""
    from matplotlib import colormaps

    return np.asarray(255 * colormaps["inferno"](np.arange(256))[:, :3]).round().astype(np.uint8)


def _colours(names: Sequence[str]) -> np.ndarray:
    return np.array([ImageColor.getrgb(name) for name in names], np.uint8)
