"""A contact sheet: one picture with many samples and their masks, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_bench.mini.world.palette import voc_palette
from wsss_bench.mini.world.samples import Sample

COLUMNS = 8
SHEET_SAMPLES = 64


def write_contact_sheet(path: Path, samples: Sequence[Sample]) -> None:
    """Write samples in rows of eight, each image above its mask (VOC palette, border 255 almost white)."""
    colours = np.asarray(voc_palette(), np.uint8).reshape(256, 3)
    tiles = [np.vstack([s.rendering.image, colours[s.class_mask()]]) for s in samples]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    gap = [(2, 2), (2, 2), (0, 0)]
    rows = [
        np.hstack([np.pad(tile, gap, constant_values=255) for tile in tiles[start : start + COLUMNS]])
        for start in range(0, len(tiles), COLUMNS)
    ]
    Image.fromarray(np.vstack(rows)).save(path)
