"""The images that an evaluation shows, and a picture of them: image, truth, prediction in VOC's palette."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_bench.artifacts.files import write_bytes
from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.data.sources.base import Source
from wsss_bench.tracking.images import Example

SIDE = 160
"""Pixels of a panel's longer side."""
MAX_ROWS = 8
"""Images shown, evenly spread over the split."""


def examples(source: Source, ids: Sequence[str], predict: Callable[[str], np.ndarray]) -> list[Example]:
    """Up to eight images of a split, the same ones for every method.

    Args:
        source: Images and ground truth.
        ids: Images to choose from.
        predict: Predicted mask `(H, W)` uint8 of an image.
    """
    shown = ids[:: -(-len(ids) // MAX_ROWS)]
    return [Example(name, source.image(name), source.mask(name), predict(name)) for name in shown]


def write_panels(path: Path, shown: Sequence[Example]) -> None:
    """Write the picture as a PNG: a row of three panels for each image."""
    sheet = Image.new("RGB", (3 * SIDE, len(shown) * SIDE), "white")
    for row, (_, image, truth, prediction) in enumerate(shown):
        panels = [Image.fromarray(image).resize(_fitted(image), Image.Resampling.BILINEAR)]
        panels += [_coloured(mask) for mask in (truth, prediction)]
        for column, panel in enumerate(panels):
            sheet.paste(panel, (column * SIDE, row * SIDE))
    buffer = BytesIO()
    sheet.save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def _coloured(mask: np.ndarray) -> Image.Image:
    panel = Image.fromarray(mask).resize(_fitted(mask), Image.Resampling.NEAREST)
    panel.putpalette(voc_palette())
    return panel.convert("RGB")


def _fitted(array: np.ndarray) -> tuple[int, int]:
    """Width and height that fit into a panel, with a margin."""
    height, width = array.shape[:2]
    scale = (SIDE - 4) / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))
