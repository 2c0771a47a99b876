"""What new stages take on the disk is known before they run."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import paths
import pytest

from wsss_bench.artifacts.disk import size_text
from wsss_bench.bench.disk_space import Space, check_space, space_of
from wsss_bench.bench.first_checks import print_space
from wsss_bench.bench.prune import KINDS
from wsss_bench.crf import densecrf
from wsss_bench.plan.plan import Stage
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.sizes import OTHER_BYTES, Size, stage_size


def stage(kind, **config):
    return Stage(kind, kind, config, {}, kind, Path(kind))


VOC = 500 * 375


def test_seeds_and_masks_grow_with_images_and_pixels():
    seeds = stage_size(stage("seed"), 1000, VOC)
    assert 30e6 < seeds.bytes < 80e6  # 48 KB an image
    assert seeds.files < 100
    masks, larger = (stage_size(stage("refine"), 1000, pixels) for pixels in (VOC, 4 * VOC))
    assert 3e6 < masks.bytes < 10e6
    assert masks.bytes < larger.bytes < 2 * masks.bytes
    predicted = stage_size(stage("predict", readouts={"own": {}}), 1000, VOC)
    assert stage_size(stage("predict", scales=[]), 1000, VOC).bytes < 1.1 * masks.bytes
    assert predicted.files - masks.files == 2000
    with_crf = stage_size(stage("crf", readouts={"own": {}}), 1000, VOC)
    assert with_crf == predicted


def test_probabilities_are_those_of_present_labels_or_of_all():
    """Measured on images of 375x500: see docs/stages.md."""
    masks, present, one_scale, own = (
        stage_size(stage("predict", **options), 1000, VOC).bytes
        for options in ({}, {"crf": True}, {"crf": True, "scales": []}, {"readouts": {"own": {"crf": True}}})
    )
    assert 0.2e9 < present - masks < 0.8e9
    assert one_scale - masks / 2 == pytest.approx((present - masks) / 2, rel=0.01)
    assert own - masks > (present - masks) / 2
    assert stage_size(stage("crf", crf=None, readouts={"own": {}}), 1000, VOC).files == 1030


@pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")
@pytest.mark.parametrize("name", ["train", "segment", "affinity"])
def test_a_checkpoint_takes_what_the_network_and_its_optimiser_have(name, tmp_path):
    """Measured: 6.46 MB (CAM), 6.91 MB (DeepLabV2) and 3.74 MB (IRNet) on the mini world."""
    plan = make_plan(paths.ROOT / "experiments" / "mini_refiners.yaml", tmp_path)
    found = next(one for one in plan.stages.values() if one.kind == name)
    measured = {"train": 6.46e6, "segment": 6.91e6, "affinity": 3.74e6}[name]
    assert stage_size(found, 0, 0).bytes - OTHER_BYTES == pytest.approx(measured, rel=0.03)


def test_a_network_that_was_not_measured_counts_as_a_large_one():
    own = stage("train", model={"class_path": "my_file.Mine", "init_args": {}})
    assert stage_size(own, 0, 0).bytes > 0.4e9


def test_images_are_counted_in_the_data(voc_root):
    source = {
        "class_path": "wsss_bench.data.sources.voc.VOC",
        "init_args": {"root": str(voc_root), "vocabulary": "mini"},
    }
    train, val, gone = (stage("refine", source=source, split=split) for split in ("train", "val", "no"))
    sizes = [space_of(stages).lasting for stages in ([train], [val], [val, val], [gone])]
    assert sizes[0].files - sizes[1].files == 5
    assert sizes[2] == sizes[1] + sizes[1]
    assert sizes[3].files < sizes[1].files


def test_what_is_pruned_passes(voc_root, tmp_path, capsys):
    source = {
        "class_path": "wsss_bench.data.sources.voc.VOC",
        "init_args": {"root": str(voc_root), "vocabulary": "mini"},
    }
    one, two = (stage("predict", source=source, split=split, crf=True) for split in ("train", "val"))
    whole, pruned = (space_of([one, two], kinds) for kinds in ((), ("probabilities", "seeds")))
    assert whole.passing == whole.largest == Size(0, 0)
    assert pruned.lasting.files == whole.lasting.files > 60
    assert pruned.lasting.bytes + pruned.passing.bytes == whole.lasting.bytes
    assert 0 < pruned.largest.bytes < pruned.passing.bytes
    print_space([one, two], tmp_path, ("probabilities",))
    assert f"until it is pruned up to {size_text(pruned.passing.bytes)} more" in capsys.readouterr().out
    masks = space_of([one], ("predictions", "probabilities"))
    assert masks.passing.files > 0
    assert masks.lasting == space_of([one], KINDS).lasting


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (Size(3_000_000_000, 10), r"about 3\.00 GB in 10 files, and .*runs has 2\.00 GB free; free some"),
        (Size(10, 5000), r"in 5000 files, and the disk of .*runs has room for 1000 files"),
    ],
)
def test_a_disk_without_room_is_refused(tmp_path, monkeypatch, size, message):
    free = SimpleNamespace(f_bavail=2_000_000, f_frsize=1000, f_files=10_000, f_favail=1000)
    monkeypatch.setattr(os, "statvfs", lambda path: free)
    with pytest.raises(ValueError, match=message):
        check_space(Space(size), tmp_path / "not" / "yet" / "runs")
    assert (
        check_space(Space(Size(10**9, 10)), tmp_path)
        == "the new stages take about 1.00 GB in 10 files, 2.00 GB free"
    )
    passing = Space(Size(10**9, 10), Size(5 * 10**9, 4), Size(10**9, 2))
    words = "about 1.00 GB in 10 files, and until it is pruned up to 5.00 GB more, 2.00 GB free"
    assert check_space(passing, tmp_path) == f"the new stages take {words}"
    with pytest.raises(ValueError, match=r"up to 5\.00 GB more, and .* has 2\.00 GB free"):
        check_space(passing._replace(largest=Size(1_100_000_000, 2)), tmp_path)
    free.f_files, free.f_favail = 0, 0  # no limit
    assert check_space(Space(Size(10, 5000)), tmp_path)
