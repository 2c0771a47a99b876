"""What new stages take on the disk is known before they run."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from wsss_bench.bench.disk_space import check_space, size_of
from wsss_bench.plan.plan import Stage
from wsss_bench.plan.sizes import Size, stage_size


def stage(kind, **config):
    return Stage(kind, kind, config, {}, kind, Path(kind))


VOC = 500 * 375


def test_seeds_and_masks_grow_with_images_and_pixels():
    seeds = stage_size(stage("seed"), 1000, VOC)
    assert 0.3e9 < seeds.bytes < 1e9  # 0.6 MB an image
    assert 1000 < seeds.files < 1100
    masks, larger = (stage_size(stage("refine"), 1000, pixels) for pixels in (VOC, 4 * VOC))
    assert 3e6 < masks.bytes < 10e6
    assert masks.bytes < larger.bytes < 2 * masks.bytes
    predicted = stage_size(stage("predict", readouts={"own": {}}), 1000, VOC)
    assert predicted.files - masks.files == 4000


@pytest.mark.parametrize("kind", ["train", "affinity", "segment"])
def test_networks_that_ship_with_the_package_are_small(kind):
    large = stage_size(stage(kind, model={"init_args": {"weights": "imagenet"}}), 0, 0)
    small = stage_size(stage(kind, model={"init_args": {"weights": "package:mini/vit.safetensors"}}), 0, 0)
    assert small.bytes < 0.1 * large.bytes


def test_images_are_counted_in_the_data(voc_root):
    source = {
        "class_path": "wsss_bench.data.sources.voc.VOC",
        "init_args": {"root": str(voc_root), "vocabulary": "mini"},
    }
    train, val, gone = (stage("refine", source=source, split=split) for split in ("train", "val", "no"))
    assert size_of([train]).files - size_of([val]).files == 5
    assert size_of([val, val]) == size_of([val]) + size_of([val])
    assert size_of([gone]).files < size_of([val]).files


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (Size(3_000_000_000, 10), r"about 3\.0 GB in 10 files, and .*runs has 2\.0 GB free; free some"),
        (Size(10, 5000), r"in 5000 files, and the disk of .*runs has room for 1000 files"),
    ],
)
def test_a_disk_without_room_is_refused(tmp_path, monkeypatch, size, message):
    free = SimpleNamespace(f_bavail=2_000_000, f_frsize=1000, f_files=10_000, f_favail=1000)
    monkeypatch.setattr(os, "statvfs", lambda path: free)
    with pytest.raises(ValueError, match=message):
        check_space(size, tmp_path / "not" / "yet" / "runs")
    assert (
        check_space(Size(10**9, 10), tmp_path)
        == "the new stages take about 1.0 GB in 10 files; 2.0 GB are free"
    )
    free.f_files, free.f_favail = 0, 0  # no limit
    assert check_space(Size(10, 5000), tmp_path)
