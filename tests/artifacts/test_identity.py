"""What two runs with one folder may differ in, and what makes another stage."""

from __future__ import annotations

import json

import pytest

from wsss_bench.artifacts.identity import claim, differences, fingerprint_of, identity_of
from wsss_bench.artifacts.layout import IDENTITY_FILE, LAST
from wsss_bench.artifacts.run import StageInfo, open_stage

CONFIG = {
    "model": {"class_path": "fake.CAM", "init_args": {"width": 8}},
    "data": {"global_batch_size": 8, "num_workers": 0},
    "trainer": {"devices": 1, "max_epochs": 3},
    "workers": 1,
    "out": "a",
}


def attempt(out, config=CONFIG, result="seeds/a.npz", data=None):
    """A stage that writes one file and is then interrupted."""
    try:
        with open_stage(out, "seed", config, StageInfo(), data) as run:
            path = run.path / result
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"result")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def changed(**changes):
    return {**CONFIG, **changes}


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            changed(data={"global_batch_size": 9, "num_workers": 0}),
            r"data.global_batch_size \(there: 8, now: 9\)",
        ),
        (
            changed(model={"class_path": "fake.CAM", "init_args": {}}),
            r"model.init_args.width \(there: 8, now: 'absent'",
        ),
        (changed(threshold=0.5), r"threshold \(there: 'absent', now: 0.5\)"),
        (changed(trainer={"devices": 1, "max_epochs": 4}), r"trainer.max_epochs \(there: 3, now: 4\)"),
    ],
)
def test_a_folder_with_results_of_another_configuration_is_refused(tmp_path, complete, config, message):
    attempt(tmp_path)
    if complete:
        with open_stage(tmp_path, "seed", CONFIG, StageInfo()):
            pass
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=message), open_stage(tmp_path, "seed", config, StageInfo()):
        raise AssertionError("the stage has started")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_does_not_change_results_may_differ(tmp_path):
    attempt(tmp_path)
    other = changed(
        out="elsewhere",
        workers=4,
        data={"global_batch_size": 8, "num_workers": 2},
        trainer={"devices": 4, "num_nodes": 2, "accelerator": "gpu", "strategy": "ddp", "max_epochs": 3},
    )
    with open_stage(tmp_path, "seed", other, StageInfo(title="another")):
        pass


def test_a_folder_without_results_may_be_used_for_another_configuration(tmp_path):
    """A first attempt that failed on a wrong learning rate leaves nothing that could be mixed."""
    attempt(tmp_path, result="log.txt")
    attempt(tmp_path, changed(threshold=0.5))
    assert json.loads((tmp_path / IDENTITY_FILE).read_text())["config"]["threshold"] == 0.5
    with pytest.raises(ValueError, match="threshold"), open_stage(tmp_path, "seed", CONFIG, StageInfo()):
        pass


@pytest.mark.parametrize("content", [None, "", "{"])
def test_results_that_say_of_no_stage_are_not_adopted(tmp_path, content):
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "a.npz").write_bytes(b"of an earlier version")
    if content is not None:
        (tmp_path / IDENTITY_FILE).write_text(content)
    with pytest.raises(ValueError, match=r"no readable identity\.json that says of which stage"):
        claim(tmp_path, identity_of({"split": "train"}, {}))


def test_the_size_of_a_batch_of_a_prediction_decides_nothing(tmp_path):
    inference = {"scales": [1.0], "flip": True}
    plain, batched = changed(inference=inference), changed(inference={**inference, "batch_size": 8})
    assert fingerprint_of("seed", batched, {}) == fingerprint_of("seed", plain, {})
    assert fingerprint_of("seed", changed(inference={"scales": [1.0]}), {}) != fingerprint_of(
        "seed", plain, {}
    )
    attempt(tmp_path, plain)
    with open_stage(tmp_path, "seed", batched, StageInfo()):
        pass


def test_the_identity_is_there_before_the_first_result(tmp_path):
    with open_stage(tmp_path, "seed", CONFIG, StageInfo()):
        assert json.loads((tmp_path / IDENTITY_FILE).read_text())["config"]["trainer.max_epochs"] == 3


def test_changed_data_are_another_stage(tmp_path):
    attempt(tmp_path, data={"train/labels": "a", "train/lists": "b"})
    with (
        pytest.raises(ValueError, match="the data of train/labels changed"),
        open_stage(tmp_path, "seed", CONFIG, StageInfo(), {"train/labels": "c", "train/lists": "b"}),
    ):
        pass


def train_stage(folder, content):
    (folder / LAST).parent.mkdir(parents=True, exist_ok=True)
    (folder / LAST).write_bytes(content)
    return str(folder)


def test_another_checkpoint_under_the_same_path_is_another_stage(tmp_path):
    config = changed(checkpoint=train_stage(tmp_path / "train", b"one"))
    attempt(tmp_path / "out", config)
    train_stage(tmp_path / "train", b"two")
    with (
        pytest.raises(ValueError, match="the files of checkpoint are other ones"),
        open_stage(tmp_path / "out", "seed", config, StageInfo()),
    ):
        pass


def test_the_same_checkpoint_elsewhere_is_the_same_stage(tmp_path):
    attempt(tmp_path / "out", changed(checkpoint=train_stage(tmp_path / "train", b"one")))
    moved = changed(checkpoint=train_stage(tmp_path / "moved", b"one"))
    with open_stage(tmp_path / "out", "seed", moved, StageInfo()):
        pass


@pytest.mark.parametrize("folder", ["masks", "masks/ss-raw", "seeds", "."])
def test_other_files_of_an_input_are_another_stage(tmp_path, folder):
    role = "seeds" if folder == "seeds" else "masks"
    inner = tmp_path / "input" / folder
    inner.mkdir(parents=True)
    suffix = "npz" if role == "seeds" else "png"
    (inner / f"a.{suffix}").write_bytes(b"1")
    config = changed(**{role: str(tmp_path / "input")})
    first = identity_of(config, {})
    assert identity_of(config, {}) == first
    (inner / f"a.{suffix}").write_bytes(b"12")
    assert identity_of(config, {}) != first
    (inner / f"a.{suffix}").write_bytes(b"1")
    (inner / f"b.{suffix}").write_bytes(b"1")
    assert identity_of(config, {}) != first


def test_differences_name_nested_keys():
    one = {"a": {"b": 1, "c": [1, 2]}, "d": {}, "out": "x"}
    other = {"a": {"b": 2, "c": [1, 2]}, "d": {"e": None}, "out": "y"}
    assert differences(one, other) == {"a.b": (1, 2), "d": ({}, "absent"), "d.e": ("absent", None)}


def test_data_are_part_of_a_fingerprint():
    known = fingerprint_of("train", {"a": 1}, {}, {"train/labels": "x"})
    assert known != fingerprint_of("train", {"a": 1}, {}, {"train/labels": "y"})
    assert fingerprint_of("train", {"a": 1}, {}) == fingerprint_of("train", {"a": 1}, {}, {}) != known
