"""What a missing file is said to be, where a folder has other files of the image."""

from __future__ import annotations

import json

import pytest

from wsss_bench.artifacts.layout import MANIFEST, SEEDS, require_files


@pytest.mark.parametrize(
    ("file", "kind", "message"),
    [
        (
            "a.npy",
            "seed",
            r"it has a\.npy: `wsss-bench import seeds --cams .*` makes seeds of the class maps",
        ),
        ("a.PNG", "mask", r"it has a\.PNG; masks are <image id>\.png with the class of each pixel"),
        ("a.jpg", "mask", r"it has a\.jpg; masks are"),
        ("ab.npy", "seed", "name another folder or split, or complete this one: put an intact copy there"),
        ("a.b.png", "mask", "name another folder or split"),
        (None, "mask", "name another folder or split"),
    ],
)
def test_other_files_of_the_image_are_named(tmp_path, file, kind, message):
    if file is not None:
        (tmp_path / file).touch()
    with pytest.raises(FileNotFoundError, match=rf"has no {kind} for 1 images of split 'val': a; {message}"):
        require_files(["a"], kind, tmp_path, "val")


def test_seeds_are_no_masks(tmp_path):
    (tmp_path / SEEDS).mkdir()
    (tmp_path / MANIFEST).write_text(json.dumps({"config": {"split": "train"}}))
    with pytest.raises(FileNotFoundError, match="it has seeds of split 'train', which --seeds scores"):
        require_files(["a"], "mask", tmp_path, "val")


def test_nothing_missing_is_nothing(tmp_path):
    require_files([], "mask", tmp_path, "val")
