"""The files of a stage: what is recorded, what counts as damage, and how a stage is opened again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsss_bench.artifacts import stage_files
from wsss_bench.artifacts.files import MANIFEST, is_complete, read_manifest
from wsss_bench.artifacts.layout import FILES, LAST, find_manifest, how_to_mend
from wsss_bench.artifacts.pruning import prune_stage, pruned_folders
from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.artifacts.stage_files import (
    MIXED,
    DamagedFileError,
    check_file,
    damaged_files,
    lost_files,
    mend,
    remove_stage,
)

SEEDS = [f"seeds/{name}.npz" for name in ("a", "b", "deep/c", "deep/d")]


def make_stage(path: Path, files=(str(LAST), "config.yaml", *SEEDS), kind="train", config=None) -> Path:
    with open_stage(path, kind, config or {}, StageInfo()) as run:
        for name in files:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            if not (path / name).exists():
                (path / name).write_bytes(f"content of {name}".encode())
        run.progress(1, 1, "steps")
    for name in ("log.txt", "plan.yaml", "wandb/run.wandb", ".hidden"):  # what others write
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("")
    return path


@pytest.fixture
def stage(tmp_path):
    return make_stage(tmp_path / "train-cam")


def lost(stage):
    return lost_files(stage, read_manifest(stage))


def test_what_a_stage_wrote_is_recorded_with_its_size_and_sha256(stage):
    recorded = json.loads((stage / FILES).read_text())
    assert set(recorded) == {str(LAST), "config.yaml", *SEEDS}
    assert recorded["seeds/deep/c.npz"]["bytes"] == len("content of seeds/deep/c.npz")
    entry = read_manifest(stage)["files"]
    assert (entry["count"], entry["bytes"]) == (6, sum(one["bytes"] for one in recorded.values()))
    assert lost(stage) == damaged_files(stage) == []


def test_missing_and_resized_files_are_found_by_listing(stage):
    (stage / SEEDS[0]).unlink()
    (stage / SEEDS[2]).write_bytes(b"short")
    assert lost(stage) == damaged_files(stage) == [SEEDS[0], SEEDS[2]]


def test_a_folder_that_is_gone(stage):
    (stage / LAST).unlink()
    (stage / LAST).parent.rmdir()
    assert lost(stage) == [str(LAST)]


def test_flipped_bytes_are_found_by_reading(stage):
    content = bytearray((stage / LAST).read_bytes())
    content[3] ^= 1
    (stage / LAST).write_bytes(content)
    assert lost(stage) == []
    assert damaged_files(stage) == [str(LAST)]


def test_a_further_file_is_no_damage(stage):
    (stage / "seeds" / "note.txt").write_text("mine")
    (stage / "notes").mkdir()
    (stage / "notes" / "note.txt").write_text("mine")
    assert lost(stage) == damaged_files(stage) == []


def test_a_moved_folder_behind_a_link_is_no_damage(stage, tmp_path):
    (stage / "seeds").rename(tmp_path / "elsewhere")
    (stage / "seeds").symlink_to(tmp_path / "elsewhere")
    assert lost(stage) == damaged_files(stage) == []


@pytest.mark.parametrize("content", [None, "", "{}", '{"a": 1'])
def test_without_its_record_a_stage_is_damaged(stage, content):
    if content is None:
        (stage / FILES).unlink()
    else:
        (stage / FILES).write_text(content)
        (stage / SEEDS[0]).unlink()  # so that the record is needed
    assert lost(stage) == damaged_files(stage) == [FILES]
    with pytest.raises(DamagedFileError, match=r"files\.json is missing or was changed"):
        check_file(stage, LAST)


@pytest.mark.parametrize("content", ["", '{"kind": "train', "[]"])
def test_a_broken_manifest_is_damage(stage, content):
    (stage / MANIFEST).write_text(content)
    (stage / SEEDS[1]).unlink()
    assert find_manifest(stage) == {}
    assert damaged_files(stage) == [MANIFEST, SEEDS[1]]
    assert mend(stage) == [MANIFEST, SEEDS[1]]
    assert (stage / LAST).is_file()


def test_a_stage_of_an_earlier_version_is_believed(stage):
    content = read_manifest(stage)
    del content["files"]
    (stage / MANIFEST).write_text(json.dumps(content))
    (stage / LAST).unlink()
    assert lost(stage) == damaged_files(stage) == mend(stage) == []
    check_file(stage, LAST)


@pytest.mark.parametrize("damage", ["missing", "shorter", "flipped"])
def test_a_reader_is_told_which_command_mends_it(stage, damage):
    path = stage / LAST
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-1] if damage == "shorter" else content[:-1] + b"?")
    with pytest.raises(DamagedFileError) as error:
        check_file(stage, LAST)
    assert str(path) in str(error.value)
    assert f"`wsss-bench fit --config {stage / 'plan.yaml'}` makes it again" in str(error.value)


def test_a_file_outside_any_stage_has_no_command(tmp_path):
    assert how_to_mend(tmp_path / "masks" / "a.png") == "put an intact copy there"


def test_the_command_of_a_stage_by_hand_is_the_one_that_was_given(stage, monkeypatch):
    (stage / "plan.yaml").unlink()
    content = read_manifest(stage) | {"command": "wsss-bench fit --config my.yaml --out x"}
    (stage / MANIFEST).write_text(json.dumps(content))
    assert "`wsss-bench fit --config my.yaml --out x`" in how_to_mend(stage / SEEDS[2])


def test_the_next_run_makes_only_the_damaged_files_again(stage):
    (stage / SEEDS[0]).write_bytes(b"another")
    before = {name: (stage / name).stat().st_mtime_ns for name in (*SEEDS, str(LAST))}
    record = (stage / FILES).read_text()
    make_stage(stage)  # a run by hand of the same command
    assert damaged_files(stage) == []
    assert (stage / FILES).read_text() == record
    after = {name: (stage / name).stat().st_mtime_ns for name in before}
    assert [name for name in before if before[name] != after[name]] == [SEEDS[0]]


def test_a_pruned_stage_is_intact_and_its_next_run_makes_the_folder_again(stage):
    record = (stage / FILES).read_text()
    prune_stage(stage, "seeds")
    assert lost(stage) == damaged_files(stage) == []
    assert is_complete(stage)
    (stage / "config.yaml").write_text("damage beside the pruned folder")
    assert lost(stage) == damaged_files(stage) == ["config.yaml"]
    make_stage(stage)
    assert damaged_files(stage) == []
    assert pruned_folders(stage) == ()
    assert (stage / FILES).read_text() == record


def test_killed_while_it_is_reopened_a_stage_does_not_look_intact(stage, monkeypatch):
    (stage / LAST).write_bytes(b"damaged")
    real = Path.unlink

    def killed(path, missing_ok=False):
        if path.name in (FILES, MANIFEST):
            raise KeyboardInterrupt
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        mend(stage)
    assert lost(stage) == [str(LAST)]


def test_a_removed_stage_is_gone_at_once(stage, monkeypatch):
    monkeypatch.setattr(stage_files, "sweep", lambda stages: None)  # killed after the rename
    remove_stage(stage)
    assert not stage.exists()
    assert list(stage.parent.glob("*-*")) == []
    monkeypatch.undo()
    stage_files.sweep(stage.parent)
    assert list(stage.parent.iterdir()) == []
    remove_stage(stage)  # nothing to remove


def test_what_was_read_is_recorded(stage, tmp_path):
    seeds = make_stage(
        tmp_path / "seed-cam", kind="seed", config={"checkpoint": str(stage), "warm_start": None}
    )
    assert read_manifest(seeds)["read"] == {"checkpoint": read_manifest(stage)["files"]["sha256"]}


def test_seeds_of_two_checkpoints_are_known_as_mixed(stage, tmp_path):
    """Seeds were lost, and so was the checkpoint; it was trained again, with another result."""
    config = {"checkpoint": str(stage)}
    seeds = make_stage(tmp_path / "seed-cam", SEEDS, kind="seed", config=config)
    (seeds / SEEDS[0]).unlink()
    remove_stage(stage)
    make_stage(stage)
    make_stage(seeds, SEEDS, kind="seed", config=config)
    assert (
        read_manifest(seeds)["read"]["checkpoint"] == read_manifest(stage)["files"]["sha256"]
    )  # the same bytes
    (seeds / SEEDS[0]).unlink()
    remove_stage(stage)
    make_stage(stage, [str(LAST), "config.yaml", "more"])
    make_stage(seeds, SEEDS, kind="seed", config=config)
    assert read_manifest(seeds)["read"]["checkpoint"] == MIXED
