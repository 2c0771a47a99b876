"""Headers of stage runs, and what happens when W&B fails."""

from __future__ import annotations

import pytest
import wandb
from wandb_files import offline_runs

from wsss_bench.artifacts.files import write_json
from wsss_bench.artifacts.run import FACTS, StageInfo, commit
from wsss_bench.tracking.runs import RunHeader, harmless, mode, open_run, run_id, tag_of
from wsss_bench.tracking.stage_runs import stage_header

HEADER = RunHeader("one", "One", "g", "train", ("experiment:e",), {"a": 1})
INFO = StageInfo(
    experiment="first",
    title="clims-toy-s1",
    kind="segment",
    fingerprint="f",
    facts={"cell": "clims-toy-s1", "method": "clims", "seed": 1},
)


def test_a_stage_is_found_by_its_cell_its_kind_and_its_experiments(tmp_path):
    out = tmp_path / "stages" / "segment-clims-toy-s1-irn-01234567"
    write_json(tmp_path / "second" / "plan.json", {out.name: [], "train-x": []})
    write_json(tmp_path / "third" / "plan.json", {"train-x": []})
    header = stage_header(out, "train", INFO, {"trainer": {"max_epochs": 5}})
    assert (header.id, header.group, header.job_type) == (out.name, "clims-toy-s1", "segment")
    assert header.tags == ("experiment:first", "experiment:second")
    known = {
        "cell": "clims-toy-s1",
        "method": "clims",
        "seed": 1,
        "stage": "segment",
        "commit": commit() or None,
    }
    assert header.config == {
        **dict.fromkeys([*FACTS, "protocol"]),
        **known,
        "resolved": {"trainer": {"max_epochs": 5}},
    }


def test_a_stage_by_hand_is_in_no_cell(tmp_path):
    by_hand = StageInfo(experiment="first", title=INFO.title, kind=INFO.kind, facts=INFO.facts)
    header = stage_header(tmp_path / "stages" / "trial", "train", by_hand, {})
    assert (header.group, header.tags) == ("by-hand", ())


def test_ids_and_tags_are_such_as_wandb_takes():
    assert run_id("evaluate a/b:c-01234567") == "evaluate-a-b-c-01234567"
    assert run_id("x" * 200 + "-01234567") == "x" * 119 + "-01234567"
    assert len(tag_of("x" * 200)) == 64


def test_an_unknown_mode_is_refused(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "onlin")
    with pytest.raises(ValueError, match="WANDB_MODE is offline, online or disabled; got 'onlin'"):
        mode()


def test_without_a_server_a_run_is_written_offline(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "online")
    start, asked = wandb.init, []

    def init(**arguments):
        asked.append((arguments["mode"], arguments.get("resume")))
        if arguments["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return start(**arguments)

    monkeypatch.setattr(wandb, "init", init)
    for key in ("x", "y"):
        with open_run(tmp_path / key, HEADER, goes_on=True, silent=True, console="off") as run:
            run.log({key: 1})
    assert asked == [("online", "allow"), ("offline", None), ("offline", None)]
    printed = capsys.readouterr().out
    assert printed.count("W&B cannot be reached (no route to host); this run is written offline") == 1
    (first,), (second,) = offline_runs(tmp_path / "x"), offline_runs(tmp_path / "y")
    assert (first.points("x"), second.points("y")) == ([1], [1])
    assert (first.name, first.group, first.tags, first.config["a"]) == ("One", "g", ["experiment:e"], 1)


def test_an_error_of_wandb_is_a_sentence(capsys):
    with harmless("run of this stage"):
        raise wandb.errors.CommError("gone")
    assert (
        "W&B has no run of this stage (CommError: gone); no result depends on it" in capsys.readouterr().out
    )
    with pytest.raises(KeyboardInterrupt), harmless("run of this stage"):
        raise KeyboardInterrupt
