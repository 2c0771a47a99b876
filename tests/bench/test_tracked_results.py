"""The runs of cells and leaderboard that a bench leaves for W&B, over fake stages without processes."""

from __future__ import annotations

import pytest
import wandb
from fakes import run_stage
from test_packing import InProcess
from wandb_files import offline_runs

from wsss_bench.artifacts.run import FACTS
from wsss_bench.bench import runner
from wsss_bench.bench.run_bench import run_bench
from wsss_bench.plan.planner import make_plan
from wsss_bench.report.data_files import COLUMNS
from wsss_bench.tracking import result_runs


@pytest.fixture
def bench(project, monkeypatch):
    """Runs an experiment with W&B offline; returns its exit status."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.0)

    def run(name: str, **changes: object) -> int:
        plan = make_plan(project.experiment(name, **changes), project.runs)
        return run_bench(plan, project.runs, 1, InProcess(run_stage))

    return run


def test_a_run_for_each_cell_and_one_for_the_leaderboard(bench, project):
    assert bench("toy", methods=["cam", "full"], random_seeds=[0, 1]) == 0
    found = {run.id: run for run in offline_runs(project.runs / "toy")}
    cells = [f"{row}-toy-s{seed}" for row in ("cam", "full") for seed in (0, 1)]
    assert sorted(found) == sorted(["leaderboard-toy", *(f"cell-toy-{cell}" for cell in cells)])
    cam = found["cell-toy-cam-toy-s1"]
    assert (cam.group, cam.job_type, cam.tags) == ("cam-toy-s1", "cell", ["experiment:toy"])
    assert {*FACTS, "stage", "protocol", "commit"} <= cam.config.keys()
    known = {
        "cell": "cam-toy-s1",
        "method": "cam",
        "seed": 1,
        "stage": "cell",
        "backbone": "R50",
        "commit": "abc",
    }
    assert {key: cam.config[key] for key in known} == known
    assert {
        "miou/seed_fixed",
        "miou/seed_oracle",
        "miou/refined_threshold",
        "bg_fp",
        "cost/params",
    } <= cam.summary.keys()
    assert {row[0] for row in cam.table("per_class")} == {
        "seed_fixed",
        "seed_heldout",
        "seed_oracle",
        "refined_threshold",
    }
    board = found["leaderboard-toy"]
    assert (board.group, board.job_type) == ("toy", "leaderboard")
    first = dict(zip(COLUMNS, board.table("leaderboard")[0], strict=True))
    assert (first["method"], first["dataset"], first["split"]) == ("cam", "toy", "train")


def written(folder):
    """The files of runs, and when they were written."""
    wandb.teardown()  # its process may still be writing
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.wandb")}


def test_a_second_bench_writes_only_what_has_changed(bench, project):
    assert bench("toy", methods=["cam"]) == 0
    folder = project.runs / "toy" / "wandb"
    before = written(folder)
    assert bench("toy", methods=["cam"]) == 0
    assert written(folder) == before
    assert bench("toy", methods=["cam", "full"]) == 0
    after = written(folder)
    kept = [path.stem for path in before if after.get(path) == before[path]]
    assert kept == ["run-cell-toy-cam-toy-s0"]
    assert sorted(run.id for run in offline_runs(folder)) == [
        "cell-toy-cam-toy-s0",
        "cell-toy-full-toy-s0",
        "leaderboard-toy",
    ]


def test_a_stage_that_ran_for_another_experiment_is_named_by_both(bench, project):
    assert bench("first", methods=["cam"]) == 0
    assert bench("second", methods=["cam", "full"]) == 0
    (train,) = project.runs.glob("stages/train-cam-*")
    for experiment in ("first", "second"):
        named = [
            run.id for run in offline_runs(project.runs / experiment) if train.name in run.config["stages"]
        ]
        assert named == [f"cell-{experiment}-cam-toy-s0", f"leaderboard-{experiment}"]


def test_an_error_of_wandb_costs_neither_table_nor_status(bench, project, monkeypatch, capsys):
    monkeypatch.setattr(result_runs, "open_run", lambda *_, **__: 1 / 0)
    assert bench("toy", methods=["cam"]) == 0
    printed = capsys.readouterr().out
    assert "W&B has no results of this experiment (ZeroDivisionError: division by zero)" in printed
    assert "Seeds on toy train: which method localises best?" in printed
    assert (project.runs / "toy" / "leaderboard.md").is_file()
    assert not list((project.runs / "toy").rglob("*.wandb"))


def test_disabled_writes_nothing(bench, project, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert bench("toy", methods=["cam"]) == 0
    assert not (project.runs / "toy" / "wandb").exists()
