"""Images are read upright, whatever their header says, and their sizes agree with what is read."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from wsss_bench.artifacts.images import (
    Unreadable,
    check_decodes,
    check_header,
    image_size,
    read_image,
    rgb_array,
)

ORIENTATION = 0x0112
STORED = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def write(path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(STORED).save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_header_is_applied(suffix, orientation, tmp_path):
    path = write(tmp_path / f"x{suffix}", orientation)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        np.testing.assert_array_equal(rgb_array(image, "x"), upright)  # as `predict` gets it
    np.testing.assert_array_equal(read_image(path), upright)
    assert image_size(path) == upright.shape[:2] == ((30, 20) if orientation > 4 else (20, 30))
    assert check_decodes(path) == (1 if suffix == ".tif" else orientation)  # PIL turns these itself


def test_an_orientation_that_does_not_exist_is_ignored(tmp_path):
    assert image_size(write(tmp_path / "x.jpg", 9)) == (20, 30)
    assert read_image(tmp_path / "x.jpg").shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_check_finds_what_reading_finds(suffix, tmp_path):
    path = write(tmp_path / f"x{suffix}", 1)
    path.write_bytes(path.read_bytes()[:-60])
    for read in (read_image, check_decodes):
        with pytest.raises(Unreadable, match="cannot be decoded"):
            read(path)
    with pytest.raises(FileNotFoundError, match="does not exist; restore it"):
        check_decodes(tmp_path / "absent.jpg")


def test_a_jpeg_with_bytes_behind_its_end_is_sound(tmp_path):
    path = write(tmp_path / "x.jpg", 3)
    path.write_bytes(path.read_bytes() + b"maker")
    assert check_decodes(path) == 3


def test_a_replaced_image_is_looked_at_again(tmp_path):
    path = write(tmp_path / "x.png", 1)
    assert image_size(path) == (20, 30)
    Image.fromarray(STORED[:10]).save(path)
    assert image_size(path) == (10, 30)
    check_header(path)
    Image.fromarray(STORED[..., 0].astype(np.uint16)).save(path)
    with pytest.raises(Unreadable, match="expected 8 bits per channel"):
        check_header(path)


def test_the_check_of_an_image_and_of_its_size_open_it_once(tmp_path, monkeypatch):
    path = write(tmp_path / "x.jpg", 6)
    opened = []
    real_open = Image.open
    monkeypatch.setattr(Image, "open", lambda file: opened.append(file) or real_open(file))
    assert check_decodes(path) == 6
    assert image_size(path) == (30, 20)
    assert opened == [path]
