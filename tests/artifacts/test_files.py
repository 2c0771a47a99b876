"""Files that stages exchange: exact round trips, formats that other programs read, no partial files."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from wsss_bench.artifacts import files as artifacts


def test_mask_is_an_indexed_png_with_the_voc_palette(tmp_path):
    mask = np.array([[0, 1, 2], [20, 255, 7]], np.uint8)
    artifacts.write_mask(tmp_path, "a", mask)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), mask)
        palette = np.array(image.getpalette()).reshape(-1, 3)
    # colours of the VOC development kit
    assert palette[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip
    np.testing.assert_array_equal(artifacts.read_mask(tmp_path / "a.png"), mask)


def test_grey_png_is_read_and_colour_png_is_refused(tmp_path):
    Image.fromarray(np.full((2, 2), 5, np.uint8)).save(tmp_path / "grey.png")
    assert artifacts.read_mask(tmp_path / "grey.png").tolist() == [[5, 5], [5, 5]]
    Image.new("RGB", (2, 2)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="RGB image; a mask is an indexed"):
        artifacts.read_mask(tmp_path / "rgb.png")


def test_a_truncated_mask_names_itself(tmp_path):
    artifacts.write_mask(tmp_path, "a", np.random.default_rng(0).integers(0, 20, (64, 64)).astype(np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.png cannot be decoded"):
        artifacts.read_mask(tmp_path / "a.png")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    artifacts.write_json(tmp_path / "x.json", {"old": 1})

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        artifacts.write_atomically(tmp_path / "x.json", fail)
    assert json.loads((tmp_path / "x.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_an_incomplete_stage_has_no_manifest(tmp_path):
    assert not artifacts.is_complete(tmp_path)
    with pytest.raises(FileNotFoundError, match="did not complete"):
        artifacts.read_manifest(tmp_path)


def test_not_a_number_never_reaches_a_json_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(tmp_path / "x.json", {"miou": float("nan")})


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_files_get_the_permissions_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        artifacts.write_json(tmp_path / "x.json", {})
        artifacts.write_json(tmp_path / "x.json", {"again": 1})
    finally:
        os.umask(before)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_names_as_long_as_the_file_system_allows(tmp_path):
    artifacts.write_mask(tmp_path, "n" * 251, np.zeros((2, 2), np.uint8))
    assert artifacts.read_mask(tmp_path / ("n" * 251 + ".png")).shape == (2, 2)


def test_file_names_follow_linked_folders_and_no_circle(tmp_path):
    inside, elsewhere = tmp_path / "inside", tmp_path / "elsewhere"
    (inside / "a" / "b").mkdir(parents=True)
    elsewhere.mkdir()
    for path in (inside / "x.png", inside / "a" / "b" / "y.png", elsewhere / "z.png"):
        path.touch()
    (inside / "link").symlink_to(elsewhere)
    (inside / "a" / "circle").symlink_to(inside)
    assert artifacts.file_names(inside) == {"x.png", "a/b/y.png", "link/z.png"}
    assert artifacts.file_names(tmp_path / "none") == set()
