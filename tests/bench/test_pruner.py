"""`bench --prune`: what all its readers have read goes while the bench runs, and nothing else."""

from __future__ import annotations

import shutil

import pytest
from fakes import run_stage
from test_again import bench, finished  # noqa: F401 - fixtures
from test_packing import InProcess

from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.layout import MANIFEST, MASKS, PROBABILITIES, SEEDS
from wsss_bench.artifacts.locks import Locks, locked
from wsss_bench.bench import pruner
from wsss_bench.bench.run_bench import run_bench
from wsss_bench.plan.plan_record import write_plan_record
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.state import states_of
from wsss_bench.report.results import read_results

TOY = {"methods": ["cam", "zero"]}


def holders(plan, kind, folder):
    """The stages of a kind that have a folder."""
    return [
        stage.title for stage in plan.stages.values() if (stage.path / folder).is_dir() and stage.kind == kind
    ]


class Run:
    """A bench with fake stages; before each stage it notes which predictions have probabilities."""

    def __init__(self, project, *pruned: str, fails: str = "", again=(), **changes: object) -> None:
        self.plan = make_plan(project.experiment(**(changes or TOY)), project.runs)
        self.names: list[str] = []
        self.held: list[list[str]] = []
        self._by_path = {str(stage.path): stage.name for stage in self.plan.stages.values()}
        self._fails = fails
        launcher = InProcess(self._run)
        self.status = run_bench(self.plan, project.runs, 1, launcher, again, pruned=pruned)

    def _run(self, arguments: list[str]) -> int:
        self.held.append(holders(self.plan, "predict", PROBABILITIES))
        (name,) = (
            name for path, name in self._by_path.items() if any(word.startswith(path) for word in arguments)
        )
        self.names.append(name)
        return 1 if name == self._fails else run_stage(arguments)


@pytest.fixture(name="project")
def empty(bench):  # noqa: F811
    """A project of which nothing has run."""
    shutil.rmtree(bench.runs)
    return bench


def test_probabilities_go_while_the_bench_runs(project, capsys):
    plain = Run(project)
    expected, predictions = read_results(plain.plan), holders(plain.plan, "predict", PROBABILITIES)
    assert plain.held[-1] == predictions
    assert len(predictions) >= 2
    shutil.rmtree(project.runs)
    capsys.readouterr()
    pruned = Run(project, "probabilities")
    assert pruned.status == 0
    assert any(pruned.held)
    assert pruned.held[-1] == []  # before the last stage
    assert holders(pruned.plan, "predict", PROBABILITIES) == []
    assert len(holders(pruned.plan, "predict", MASKS)) == len(predictions)
    assert holders(pruned.plan, "seed", SEEDS)
    assert read_results(pruned.plan) == expected
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("pruned ")
    assert last.endswith(" of probabilities")
    assert Run(project, "probabilities").names == []


def test_what_a_failed_stage_reads_stays(project):
    run = Run(project, "probabilities", fails="crf zero-toy-s0-val")
    assert run.status == 1
    assert holders(run.plan, "predict", PROBABILITIES) == ["zero-toy-s0-val"]
    again = Run(project, "probabilities")
    assert again.names == ["crf zero-toy-s0-val", "evaluate zero-toy-s0-val"]
    assert holders(again.plan, "predict", PROBABILITIES) == []


def test_several_kinds_and_what_an_earlier_bench_left(project):
    """Nothing runs, and the files are removed all the same."""
    Run(project)
    run = Run(project, "seeds", "pseudo-masks", "predictions")
    assert run.names == []
    assert holders(run.plan, "seed", SEEDS) == holders(run.plan, "crf", MASKS) == []
    assert holders(run.plan, "refine", MASKS) == holders(run.plan, "predict", MASKS) == []
    assert holders(run.plan, "predict", PROBABILITIES)
    assert {state.progress for state in states_of(run.plan).values()} == {"complete"}


def test_stages_that_run_again_find_what_they_read(project):
    Run(project)
    again = Run(project, "seeds", again=["cam-toy-s0-threshold"])
    assert again.status == 0
    assert "refine cam-toy-s0-threshold" in again.names
    assert not any(name.startswith("seed") for name in again.names)
    assert holders(again.plan, "seed", SEEDS) == []


def test_what_another_experiment_reads_stays(project):
    project.write("configs/refine/other.yaml", {"refiner": {"class_path": "fake.Other", "init_args": {}}})
    other = make_plan(project.experiment("second", **TOY, refiners=["other"]), project.runs)
    write_plan_record(other, project.runs)
    run = Run(project, "seeds")
    assert "cam-toy-s0" in holders(run.plan, "seed", SEEDS)


def test_a_stage_that_another_process_works_in_stays(project):
    run = Run(project)
    (stage,) = (one for one in run.plan.stages.values() if one.name == "predict zero-toy-s0-val")
    with locked(stage.path, "bench"):
        Run(project, "probabilities")
    assert holders(run.plan, "predict", PROBABILITIES) == ["zero-toy-s0-val"]


def test_a_stage_that_this_bench_makes_again_stays_and_stays_locked(project):
    run = Run(project)
    stages = {stage.name: stage for stage in run.plan.stages.values()}
    made, reader = stages["predict zero-toy-s0-val"], stages["crf zero-toy-s0-val"]
    with Locks("bench") as locks:
        assert locks.take(made.path) is None
        pruner.Pruner(run.plan, project.runs, ["probabilities"], locks).completed(reader)
        assert locks.holds(made.path)
        assert (made.path / PROBABILITIES).is_dir()
    with Locks("bench") as locks:
        pruner.Pruner(run.plan, project.runs, ["probabilities"], locks).completed(reader)
        assert not locks.holds(made.path)
        assert not (made.path / PROBABILITIES).exists()


def test_a_folder_that_cannot_be_removed_does_not_end_the_bench(project, monkeypatch, capsys):
    def refuse(stage, folder):
        raise OSError(39, "Directory not empty", str(stage / folder))

    monkeypatch.setattr(pruner, "prune_stage", refuse)
    run = Run(project, "probabilities")
    assert run.status == 0
    assert "could not be pruned, `wsss-bench prune` tries it again: predict" in capsys.readouterr().out
    monkeypatch.undo()
    run = Run(project, "probabilities")
    assert holders(run.plan, "predict", PROBABILITIES) == []
    assert all(is_complete(stage.path) for stage in run.plan.stages.values())
    assert all((stage.path / MANIFEST).is_file() for stage in run.plan.stages.values())
