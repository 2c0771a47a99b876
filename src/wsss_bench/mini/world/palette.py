"""The colour palette of PASCAL VOC's indexed masks."""

from __future__ import annotations


def voc_palette() -> list[int]:
    """R, G, B of the 256 mask values, 768 numbers in all.

    Bit 3 k + c of a mask value becomes bit 7 - k of channel c.
    """
    palette = []
    for value in range(256):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= ((value >> (3 * bit + channel)) & 1) << (7 - bit)
        palette += rgb
    return palette
