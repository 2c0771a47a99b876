"""A picture for people: image, truth and prediction of a few images, in the colours of the VOC palette."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_bench.artifacts.files import voc_palette, write_atomically

SIDE = 160
"""Pixels of a panel's longer side."""


def write_panels(path: Path, rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Write one row for each `(image (H, W, 3) uint8, truth (H, W) uint8, prediction (H, W) uint8)`."""
    sheet = Image.new("RGB", (3 * SIDE, len(rows) * SIDE), "white")
    for row, (image, *masks) in enumerate(rows):
        panels = [Image.fromarray(image).resize(_fitted(image), Image.Resampling.BILINEAR)]
        for mask in masks:
            panel = Image.fromarray(mask).resize(_fitted(mask), Image.Resampling.NEAREST)
            panel.putpalette(voc_palette())
            panels.append(panel.convert("RGB"))
        for column, panel in enumerate(panels):
            sheet.paste(panel, (column * SIDE, row * SIDE))
    buffer = BytesIO()
    sheet.save(buffer, format="PNG")
    write_atomically(path, lambda file: file.write(buffer.getvalue()))


def _fitted(array: np.ndarray) -> tuple[int, int]:
    height, width = array.shape[:2]
    scale = (SIDE - 4) / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))
