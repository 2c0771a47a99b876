"""Maps of small integers as few bytes.

Maps are smooth: the mixed difference of neighbouring values in both directions is mostly 0, 1 or -1, which
deflate packs well without looking for repeated strings (`Z_RLE`). Of values of two bytes, differences below
zero become odd numbers, so that the high bytes, which are packed behind all low ones, are mostly 0.
"""

from __future__ import annotations

import zlib

import numpy as np


def pack(maps: np.ndarray) -> bytes:
    """Compress `(K, h, w)` maps of uint8 or uint16."""
    rows = maps.copy()
    rows[..., 1:] -= maps[..., :-1]
    mixed = rows.copy()
    mixed[:, 1:] -= rows[:, :-1]  # modulo 256 or 65536, as is the sum in `unpack`
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    parts = [mixed] if mixed.dtype == np.uint8 else _bytes_of(mixed)
    return b"".join(packer.compress(part.tobytes()) for part in parts) + packer.flush()


def unpack(
    content: bytes, shape: tuple[int, int, int], dtype: type[np.unsignedinteger] = np.uint8
) -> np.ndarray:
    """Maps from the bytes of `pack`; no more memory is filled than `shape` takes.

    Raises:
        ValueError: the bytes do not hold exactly such an array.
        zlib.error: they are not compressed data.
    """
    number = int(np.prod(shape))
    wanted = number * np.dtype(dtype).itemsize
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(content, wanted + 1)
    if len(found) != wanted or not unpacker.eof:
        raise ValueError(f"its levels do not have the shape {shape} that its header gives")
    plain = np.frombuffer(found, np.uint8)
    mixed = (plain if dtype == np.uint8 else _from_bytes(plain[:number], plain[number:])).reshape(shape)
    maps: np.ndarray = mixed.cumsum(axis=1, dtype=dtype).cumsum(axis=2, dtype=dtype)
    return maps


def _bytes_of(differences: np.ndarray) -> list[np.ndarray]:
    """Low and high bytes of uint16 differences, after 0, -1, 1, -2, ... became 0, 1, 2, 3, ..."""
    signed = differences.view(np.int16)
    folded = ((signed << 1) ^ (signed >> 15)).view(np.uint16)
    return [folded.astype(np.uint8), (folded >> 8).astype(np.uint8)]


def _from_bytes(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    folded = low | (high.astype(np.uint16) << 8)
    differences: np.ndarray = (folded >> 1) ^ (0 - (folded & 1))
    return differences
