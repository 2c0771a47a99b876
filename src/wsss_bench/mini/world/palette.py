"""The colour table of PASCAL VOC's indexed masks."""

from __future__ import annotations


def voc_palette() -> list[int]:
    """768 numbers, R G B of each mask value: the bits of the value spread over the three channels."""
    palette = []
    for value in range(256):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= ((value >> (3 * bit + channel)) & 1) << (7 - bit)
        palette += rgb
    return palette
