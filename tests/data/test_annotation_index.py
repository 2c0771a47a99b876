"""A json of annotations is parsed once for each content; its index gives the same, or is made again."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss_bench.data.sources import coco_json
from wsss_bench.data.sources.coco import COCO

IMAGE = "COCO_train2014_000000000001"
BIRD = "COCO_val2014_000000000004"
SPLITS = ("train", "val")


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def parsed(monkeypatch) -> list[str]:
    """Names of the files that are parsed from now on."""
    names: list[str] = []
    read = coco_json.read_json_text

    def counted(path, hook):
        names.append(path.stem)
        return read(path, hook)

    monkeypatch.setattr(coco_json, "read_json_text", counted)
    return names


def content(root: Path, **arguments) -> dict:
    """All that a source gives."""
    source = COCO(root, vocabulary="mini", labelled_only=False, **arguments)
    found = {}
    for split in SPLITS:
        for image_id in source.ids(split):
            mask = source.mask(image_id)
            assert mask.flags.c_contiguous
            assert mask.dtype == np.uint8
            found[image_id] = (mask.tolist(), source.labels(image_id).tolist(), source.captions(image_id))
    return found | {"left_out": source.left_out}


def edit(root: Path, change, name: str = "instances_train2014") -> Path:
    path = root / "annotations" / f"{name}.json"
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    return path


def index_files(root: Path, pattern: str = "*") -> list[Path]:
    return sorted((root / "annotations" / ".index").glob(pattern))


def test_a_second_source_parses_nothing_and_gives_the_same(coco_root, parsed):
    def odd(found):  # an object without pixels, a crowd that is no list, an object of two polygons
        triangle = [20.25, 3.5, 25.75, 3.5, 22.0, 9.125]
        found["annotations"] += [
            {"id": 20, "image_id": 1, "category_id": 3, "segmentation": [[1, 1, 5, 5]], "iscrowd": 0},
            {"id": 21, "image_id": 1, "category_id": 3, "segmentation": [triangle, [1, 1, 4, 1, 4, 4]]},
        ]

    edit(coco_root, odd)
    first = content(coco_root)
    assert sorted(parsed) == sorted(f"{kind}_{s}2014" for kind in ("instances", "captions") for s in SPLITS)
    assert len(first["left_out"]) == 1
    parsed.clear()
    assert content(coco_root) == first
    assert parsed == []


def test_another_vocabulary_uses_the_same_index(coco_root, parsed):
    content(coco_root)
    parsed.clear()
    (coco_root / "classes.txt").write_text("car\nbird\n")
    source = COCO(coco_root, vocabulary="classes.txt")
    assert source.ids("train") == [IMAGE]
    assert source.labels(IMAGE).tolist() == [1, 0]
    assert parsed == []


def test_moved_data_need_no_parsing(coco_root, parsed, tmp_path):
    first = content(coco_root)
    shutil.move(coco_root, tmp_path / "elsewhere")
    parsed.clear()
    moved = content(tmp_path / "elsewhere")
    assert parsed == []
    assert moved == first


@pytest.mark.parametrize("same_size", [True, False])
def test_a_changed_json_is_parsed_again(coco_root, parsed, same_size):
    content(coco_root)
    (before,) = index_files(coco_root, "instances_train*.npz")
    path = coco_root / "annotations" / "instances_train2014.json"
    times = path.stat()
    text = path.read_text()
    path.write_text(text.replace('"image_id": 7', '"image_id": 1') + ("" if same_size else " "))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    parsed.clear()
    assert COCO(coco_root, vocabulary="mini", labelled_only=False).labels(IMAGE).sum() == 2
    assert parsed == ["instances_train2014"]
    assert index_files(coco_root, "instances_train*.npz") != [before]  # and that one is gone
    assert len(index_files(coco_root, "instances_train*.npz")) == 1


def test_what_is_refused_is_refused_again(coco_root):
    edit(coco_root, lambda found: found["annotations"][0].update(category_id=99))
    for _ in range(2):
        with pytest.raises(ValueError, match="category_id 99"):
            COCO(coco_root, vocabulary="mini").ids("train")


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def flip(path):
    """Change each byte."""
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


def as_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda path: path.write_bytes(b""), as_folder])
@pytest.mark.parametrize("pattern", ["*.npz", "*.bin", "digests.json"])
def test_a_damaged_index_is_made_again(coco_root, pattern, damage):
    first = content(coco_root)
    (coco_root / "annotations" / ".index" / "digests.json").touch()
    for path in index_files(coco_root, pattern):
        damage(path)
    assert content(coco_root) == first


def test_an_index_that_is_damaged_during_a_run_is_made_again(coco_root, parsed):
    first = content(coco_root)
    source = COCO(coco_root, vocabulary="mini")
    source.ids("train")
    parsed.clear()
    for path in index_files(coco_root, "instances_train*.bin"):
        flip(path)
    assert source.mask(IMAGE).tolist() == first[IMAGE][0]
    assert parsed == ["instances_train2014"]


def test_annotations_that_change_during_a_run_are_noticed_where_the_index_is_lost(coco_root):
    source = COCO(coco_root, vocabulary="mini")
    source.ids("train")
    edit(coco_root, lambda found: found["annotations"][0].update(category_id=2))
    COCO(coco_root, vocabulary="mini").ids("train")  # its index replaces the first one
    with pytest.raises(ValueError, match="changed while they were in use"):
        source.mask(IMAGE)


def test_a_root_that_cannot_be_written_uses_the_cache_of_the_user(coco_root, parsed, user_cache):
    first = content(coco_root)
    shutil.rmtree(coco_root / "annotations" / ".index")
    (coco_root / "annotations" / ".index").write_text("")  # no folder can be made here
    assert content(coco_root) == first
    assert list(user_cache.rglob("*.npz"))
    parsed.clear()
    assert content(coco_root) == first
    assert parsed == []


def test_without_any_folder_that_can_be_written_the_json_is_parsed_each_time(coco_root, parsed, user_cache):
    first = content(coco_root)
    shutil.rmtree(coco_root / "annotations" / ".index")
    for place in (coco_root / "annotations" / ".index", user_cache):
        place.write_text("")
    parsed.clear()
    assert content(coco_root) == first
    assert len(parsed) == 4


def test_sizes_that_only_the_pictures_have_are_compared_again(coco_root, parsed):
    def without_sizes(found):
        for image in found["images"]:
            del image["height"], image["width"]
        found["annotations"] = found["annotations"][:2]  # run lengths have a size of their own

    edit(coco_root, without_sizes)
    assert COCO(coco_root, vocabulary="mini").mask(IMAGE).shape == (30, 40)
    parsed.clear()
    assert COCO(coco_root, vocabulary="mini").mask(IMAGE).shape == (30, 40)
    assert parsed == []
    Image.new("RGB", (500, 375)).save(coco_root / "train2014" / f"{IMAGE}.jpg")
    assert COCO(coco_root, vocabulary="mini").mask(IMAGE).shape == (375, 500)


def test_labels_alone_need_no_segmentation(coco_root, parsed):
    edit(coco_root, lambda found: [item.pop("segmentation") for item in found["annotations"]])
    for _ in range(2):
        assert COCO(coco_root, vocabulary="mini", masks=str(coco_root)).ids("train") == [IMAGE]
        with pytest.raises(ValueError, match="a box is no mask"):
            COCO(coco_root, vocabulary="mini").ids("train")
    assert len(parsed) == 3  # the labels once


def _mask(root: Path) -> list:
    return COCO(root, vocabulary="mini").mask(IMAGE).tolist()


def test_many_processes_may_make_the_same_index(coco_root):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        masks = pool.map(_mask, [coco_root] * 12)
    assert all(mask == _mask(coco_root) for mask in masks)
    assert not index_files(coco_root, "*.tmp")
