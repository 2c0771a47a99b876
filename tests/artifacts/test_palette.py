"""Masks whose colours say something else than their values."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from wsss_bench.artifacts.files import read_mask
from wsss_bench.artifacts.palette import voc_palette

MASK = np.array([[0, 0, 15, 15], [0, 7, 7, 255]], np.uint8)


def colours(mask):
    return np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)[mask]


@pytest.mark.parametrize("method", [Image.Quantize.MEDIANCUT, Image.Quantize.FASTOCTREE])
def test_colours_that_a_program_numbered_anew_are_refused(tmp_path, method):
    Image.fromarray(colours(MASK)).quantize(8, method).save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=r"a\.png has the colours of VOC under other numbers \(value \d+ with"
    ):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize(
    "palette",
    [
        voc_palette(),
        bytes(level for value in range(256) for level in (value, value, value)),
        bytes(range(256)) * 3,
        bytes((128, 64, 128, 244, 35, 232, 70, 70, 70)) + bytes(range(3, 250)) * 3,  # Cityscapes
        bytes(768),
    ],
    ids=["voc", "grey", "ramp", "cityscapes", "black"],
)
def test_other_palettes_are_read(tmp_path, palette):
    image = Image.frombytes("P", (4, 2), MASK.tobytes())
    image.putpalette(palette.ljust(768, b"\7")[:768])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), MASK)


@pytest.mark.parametrize("mode", ["1", "RGB", "RGBA", "I;16", "LA"])
def test_other_modes_are_refused(tmp_path, mode):
    Image.new(mode, (4, 2)).save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=rf"a\.png is a {mode.partition(';')[0]}\S* image; a mask is an indexed"
    ):
        read_mask(tmp_path / "a.png")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", 20_000, 20_000)  # width and height in the header
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png cannot be decoded \(Image size .* exceeds limit"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_formats_that_change_values_are_refused(tmp_path, kind):
    Image.fromarray(MASK).convert("L" if kind == "JPEG" else "RGB").save(tmp_path / "a.png", kind)
    with pytest.raises(ValueError, match=r"a\.png is a (JPEG file, which changes values|RGB image)"):
        read_mask(tmp_path / "a.png")
