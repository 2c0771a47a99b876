"""Runs of results: written once, replaced when their content changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import wandb
from wandb_files import offline_runs

from wsss_bench.tracking.result_runs import ResultRun, Table, cell_run_id, write_results
from wsss_bench.tracking.runs import RunHeader


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


def cell(name: str, miou: float) -> ResultRun:
    header = RunHeader(
        cell_run_id("toy", name), f"toy {name}", name, "cell", ("experiment:toy",), {"seed": 0}
    )
    table = Table(("score", "class", "iou"), [("seed_fixed", "cat", 12.5), ("seed_fixed", "dog", None)])
    return ResultRun(header, {"miou/seed_fixed": miou}, {"per_class": table}, [(0.1, 20.0), (0.2, 30.0)])


def written(folder):
    wandb.teardown()  # its process may still be writing
    return {path.name: path.stat().st_mtime_ns for path in (folder / "wandb").glob("offline-run-*")}


def test_a_run_holds_figures_tables_and_the_curve(tmp_path):
    write_results(tmp_path, [cell("cam-toy-s0", 47.5)])
    (run,) = offline_runs(tmp_path)
    assert (run.id, run.group, run.job_type) == ("cell-toy-cam-toy-s0", "cam-toy-s0", "cell")
    assert run.config["seed"] == 0
    assert run.summary["miou/seed_fixed"] == 47.5
    assert run.points("curve/threshold") == [0.1, 0.2]
    assert run.points("curve/miou") == [20.0, 30.0]
    assert not {"curve/threshold", "curve/miou"} & run.summary.keys()  # the last point is no result
    assert run.table("per_class") == [["seed_fixed", "cat", 12.5], ["seed_fixed", "dog", None]]


def test_only_what_has_changed_is_written_again_in_the_place_of_the_old(tmp_path):
    first, second = cell("cam-toy-s0", 47.5), cell("clims-toy-s0", 50.0)
    write_results(tmp_path, [first, second])
    before = written(tmp_path)
    write_results(tmp_path, [first, second])
    assert written(tmp_path) == before
    write_results(tmp_path, [first, replace(second, summary={"miou/seed_fixed": 51.0})])
    after = written(tmp_path)
    assert len(after) == 2
    assert len(after.items() & before.items()) == 1
    assert [run.summary["miou/seed_fixed"] for run in offline_runs(tmp_path)] == [47.5, 51.0]
    write_results(tmp_path, [first])
    assert [run.id for run in offline_runs(tmp_path)] == ["cell-toy-cam-toy-s0"]


def test_another_mode_or_project_is_written_to(monkeypatch):
    digest = cell("cam-toy-s0", 47.5).digest
    monkeypatch.setenv("WANDB_PROJECT", "other")
    other = cell("cam-toy-s0", 47.5).digest
    monkeypatch.setenv("WANDB_MODE", "online")
    assert len({digest, other, cell("cam-toy-s0", 47.5).digest}) == 3
