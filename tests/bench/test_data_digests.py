"""Stages belong to the data that they read: edited data make new stages, moved data do not."""

from __future__ import annotations

import copy
import shutil
from collections import Counter

import pytest
from project import DATA, METHODS

from wsss_bench.artifacts.files import write_manifest
from wsss_bench.artifacts.layout import DATA_RECORD
from wsss_bench.bench.data_digests import look_at_data
from wsss_bench.plan.planner import make_plan


@pytest.fixture
def toy(project, voc_root, monkeypatch):
    """The project on the tiny VOC tree, whose root is an environment variable."""
    monkeypatch.setenv("TOY", str(voc_root))
    data = copy.deepcopy(DATA)
    data["data"] = {
        "source": {
            "class_path": "wsss_bench.data.sources.voc.VOC",
            "init_args": {"root": "$TOY", "vocabulary": "mini"},
        }
    }
    data["protocol"] |= {"eval_splits": ["val"], "counts": {"train": 10, "val": 5}}
    project.write("configs/data/toy.yaml", data)
    return project


def planned(project, record=True, **changes):
    return look_at_data(make_plan(project.experiment(**changes), project.runs), project.runs, record=record)


def kinds_of_new(before, after):
    return {after.stages[key].kind for key in after.stages.keys() - before.stages.keys()}


def edit(path):
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize(
    ("file", "new"),
    [
        ("Annotations/train_3.xml", {"train", "seed", "refine", "evaluate"}),
        ("ImageSets/Segmentation/train.txt", {"train", "seed", "refine", "evaluate"}),
        ("JPEGImages/train_3.jpg", {"train", "seed", "refine", "evaluate"}),
        ("SegmentationClass/train_3.png", {"evaluate"}),
        ("JPEGImages/val_3.jpg", {"train", "seed", "refine", "predict", "crf", "evaluate"}),  # monitored, too
        ("SegmentationClass/val_3.png", {"evaluate"}),
        ("ImageSets/Segmentation/train_aug.txt", set()),
    ],
)
def test_an_edited_file_makes_the_stages_new_that_read_it(toy, voc_root, file, new):
    before = planned(toy, methods=["cam", "zero"])
    edit(voc_root / file)
    after = planned(toy, methods=["cam", "zero"])
    assert kinds_of_new(before, after) == new
    notes = [note for note in after.notes if "data changed since" in note]
    count = len(after.stages.keys() - before.stages.keys())
    assert [f" {count} stages are new" in note for note in notes] == ([True] if new else [])
    assert not planned(toy, methods=["cam", "zero"]).notes  # said once, with the plan that changed


def test_masks_count_for_the_ceiling_that_trains_on_them(toy, voc_root):
    before = planned(toy, methods=["full"])
    edit(voc_root / "SegmentationClass" / "train_3.png")
    assert kinds_of_new(before, planned(toy, methods=["full"])) == set()  # fake.Full trains on the view image
    toy.write("configs/methods/full.yaml", {**FULL, "data": {"view": "mask"}})
    before = planned(toy, methods=["full"])
    edit(voc_root / "SegmentationClass" / "train_3.png")
    assert kinds_of_new(before, planned(toy, methods=["full"])) == {"train", "predict", "crf", "evaluate"}


FULL = {
    "model": {"class_path": "fake.Full"},
    "bench": {"pipeline": "upper_bound", "supervision": "mask", "backbone": "R50"},
}


def test_restored_data_have_their_old_stages(toy, voc_root):
    before = planned(toy)
    path = voc_root / "Annotations" / "train_3.xml"
    content = path.read_bytes()
    edit(path)
    assert planned(toy).stages.keys() != before.stages.keys()
    path.write_bytes(content)
    assert list(planned(toy).stages) == list(before.stages)


def test_moved_data_have_the_same_stages(toy, voc_root, tmp_path, monkeypatch):
    before = planned(toy)
    shutil.copytree(voc_root, tmp_path / "moved", copy_function=shutil.copy)
    shutil.rmtree(voc_root)
    monkeypatch.setenv("TOY", str(tmp_path / "moved"))
    assert list(planned(toy).stages) == list(before.stages)


def test_other_data_behind_the_same_variable_have_other_stages(toy, voc_root, tmp_path, monkeypatch):
    before = planned(toy)
    shutil.copytree(voc_root, tmp_path / "other")
    edit(tmp_path / "other" / "Annotations" / "train_1.xml")
    monkeypatch.setenv("TOY", str(tmp_path / "other"))
    assert not before.stages.keys() & planned(toy, methods=["cam"]).stages.keys()


def test_without_the_data_the_recorded_digests_are_used(toy, voc_root, monkeypatch):
    before = planned(toy)
    shutil.rmtree(voc_root)
    after = planned(toy)
    assert list(after.stages) == list(before.stages)
    assert any("cannot be read now" in note for note in after.notes)
    assert list(make_plan(toy.experiment(), toy.runs).stages) == list(before.stages)  # the table's plan
    monkeypatch.delenv("TOY")
    assert list(planned(toy).stages) == list(before.stages)


def test_without_data_and_record_the_plan_says_so(toy, voc_root):
    shutil.rmtree(voc_root)
    plan = planned(toy)
    assert not any(stage.config["stage"]["data"] for stage in plan.stages.values())
    assert any("cannot be read now" in note and "JPEGImages" in note for note in plan.notes)


def test_a_dry_run_records_nothing(toy, voc_root):
    planned(toy, record=False)
    assert not (toy.runs / "toy").exists()
    planned(toy)
    record = (toy.runs / "toy" / DATA_RECORD).read_bytes()
    edit(voc_root / "Annotations" / "train_3.xml")
    for _ in range(2):  # it says the same again
        assert any("data changed since" in note for note in planned(toy, record=False).notes)
    assert (toy.runs / "toy" / DATA_RECORD).read_bytes() == record


def test_the_old_results_stay_and_a_copied_folder_is_complete(toy, voc_root, tmp_path):
    def complete(plan):
        for stage in plan.stages.values():
            write_manifest(stage.path, {"fingerprint": stage.fingerprint})

    complete(planned(toy, methods=["zero"]))
    first = sorted((toy.runs / "stages").iterdir())
    edit(voc_root / "Annotations" / "train_3.xml")
    plan = planned(toy, methods=["zero"])
    assert Counter(stage.state for stage in plan.stages.values()) == {"complete": 3, "new": 2}
    complete(plan)
    assert set(first) < set((toy.runs / "stages").iterdir())
    shutil.rmtree(voc_root)
    shutil.copytree(toy.runs, tmp_path / "copied")
    copied = tmp_path / "copied"
    plan = look_at_data(make_plan(toy.experiment(methods=["zero"]), copied), copied, record=False)
    assert {stage.state for stage in plan.stages.values()} == {"complete"}
    assert all(stage.path.is_relative_to(copied) for stage in plan.stages.values())


def test_an_own_source_without_root_is_told_once(toy):
    data = copy.deepcopy(DATA)
    data["data"]["source"] = {"class_path": "fake_stage_source.Own"}
    data["protocol"] |= {"eval_splits": ["val"], "counts": {"train": 1, "val": 1}, "holdout": 0}
    toy.write("configs/data/toy.yaml", data)
    notes = planned(toy).notes
    assert [note for note in notes if "does not say which files it reads" in note] == notes
    assert len(notes) == 1


def test_the_digests_are_in_the_plan_of_each_stage(toy):
    plan = planned(toy, methods=["cam"])
    data = {stage.kind: set(stage.config["stage"]["data"]) for stage in plan.stages.values()}
    assert data == {
        "train": {f"{split}/{part}" for split in ("train", "val") for part in ("lists", "images", "labels")},
        "seed": {"train/lists", "train/images", "train/labels"},
        "refine": {"train/lists", "train/images"},
        "evaluate": {"train/lists", "train/masks"},
    }


def test_own_weights_that_change_under_their_name_make_new_stages(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights, model = tmp_path / "vit.pth", tmp_path / "hub" / "clip"
    model.mkdir(parents=True)
    for path in (weights, model / "config.json", model / "model.safetensors"):
        path.write_bytes(b"1")
    cam: dict = copy.deepcopy(METHODS["cam"])
    cam["model"]["init_args"] = {"weights": "vit.pth", "clip": "hub/clip"}
    toy.write("configs/methods/cam.yaml", cam)
    plan = planned(toy)
    assert not plan.notes
    for changed in (weights, model / "model.safetensors"):
        edit(changed)
        plan, before = planned(toy), plan
        assert "train" in kinds_of_new(before, plan)
        assert any("data changed since" in note for note in plan.notes)
    weights.unlink()  # the check of the stage says that it is missing; its name is planned all the same
    assert planned(toy).stages.keys() == plan.stages.keys()
