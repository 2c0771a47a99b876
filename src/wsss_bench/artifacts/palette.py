"""The colours of indexed masks, and masks whose colours say something else than their values."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from wsss_bench.types import IGNORE

VOC_CLASSES = 21
"""Values of VOC's masks, with background: the colours of these are known to every tool of the field."""


@lru_cache(maxsize=1)
def voc_palette() -> bytes:
    """The 256 RGB colours of PASCAL VOC masks: bit-reversed interleaving of the class index."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours.tobytes()


@lru_cache(maxsize=64)
def other_meanings(palette: bytes) -> dict[int, int]:
    """Values of a palette whose colour is that of another value in VOC: value -> value of the colour.

    It is empty for VOC's palette, for grey levels and, nearly always, for the palettes of other data sets.
    """
    voc = _colours(voc_palette())
    meaning = {voc[value]: value for value in (*range(VOC_CLASSES), IGNORE)}
    return {
        value: meaning[colour]
        for value, colour in enumerate(_colours(palette))
        if meaning.get(colour, value) != value and len(set(colour)) > 1
    }


def painted_by_colour(mask: np.ndarray, palette: bytes) -> dict[int, int]:
    """The values of a mask that are no class indices, since a program numbered VOC's colours anew.

    Saving a mask in colours as an indexed image ("quantisation") does so: the values then count the colours
    by how often they occur. Two such values and no class with its own colour prove it.

    Args:
        mask: `(H, W)` uint8.
        palette: Its colours, three bytes each.

    Returns:
        value -> VOC's value of its colour; empty if the values are what they seem.
    """
    suspects = other_meanings(palette)
    if len(suspects) < 2:
        return {}
    used = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
    wrong = {value: suspects[value] for value in used if value in suspects}
    voc, own = _colours(voc_palette()), _colours(palette)
    right = [value for value in used if value and value < len(own) and own[value] == voc[value]]
    return wrong if len(wrong) > 1 and not right else {}


def _colours(palette: bytes) -> list[tuple[int, ...]]:
    return [tuple(palette[start : start + 3]) for start in range(0, len(palette) - 2, 3)]
