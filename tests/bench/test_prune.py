"""`prune`: what a finished matrix does not need goes, its table stays, what is read later comes back."""

import copy
import shutil

import pytest
from fakes import run_stage
from project import DATA
from test_again import bench, finished  # noqa: F401 - fixtures

from wsss_bench.artifacts import pruning
from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.layout import (
    LAST,
    MANIFEST,
    MASKS,
    PLAN_RECORD,
    PROBABILITIES,
    PRUNED_FILE,
    find_json,
)
from wsss_bench.artifacts.locks import locked
from wsss_bench.artifacts.pruning import FOLDERS
from wsss_bench.artifacts.stage_files import damaged_files, inputs_read
from wsss_bench.bench.prune import main
from wsss_bench.plan.plan_record import write_plan_record
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.state import states_of
from wsss_bench.report.results import read_results

TOY = {"methods": ["cam", "zero"]}


@pytest.fixture(name="project")
def finished_bench(bench):  # noqa: F811
    assert bench.bench(**TOY) == []
    return bench


def stages(project, *kinds):
    return [stage for stage in project.plan.stages.values() if stage.kind in kinds]


def holds_files(stage):
    return any((stage.path / folder).is_dir() for folder in FOLDERS[stage.kind])


def run_prune(project, *options):
    return main([str(project.root / "experiments/toy.yaml"), "--runs", str(project.runs), *options])


def test_a_pruned_matrix_keeps_its_table_and_runs_nothing(project, capsys):
    before = read_results(project.plan)
    read = {stage.name: inputs_read(stage.config) for stage in project.plan.stages.values()}
    removed = stages(project, *FOLDERS)
    probabilities = len(stages(project, "predict"))  # a file of each, beside its four masks
    assert run_prune(project, "--dry-run") == 0
    told = capsys.readouterr().out
    assert all(map(holds_files, stages(project, *FOLDERS)))
    assert run_prune(project) == 0
    assert capsys.readouterr().out.replace("removing in", "would remove in") == told
    assert f"together {len(removed):>10} stages {4 * len(removed) + probabilities:>9} files" in told
    assert not any(map(holds_files, stages(project, *FOLDERS)))
    for stage in project.plan.stages.values():
        assert is_complete(stage.path)
        assert damaged_files(stage.path) == []
        assert (stage.path / LAST).is_file() == (stage.kind in ("train", "segment", "affinity"))
    assert {state.progress for state in states_of(project.plan).values()} == {"complete"}
    assert project.bench(**TOY) == []
    assert read_results(project.plan) == before
    assert {stage.name: inputs_read(stage.config) for stage in project.plan.stages.values()} == read
    run_prune(project)
    assert "together          0 stages" in capsys.readouterr().out


def test_a_new_stage_has_the_files_that_it_reads_made_again(project, capsys):
    project.write("configs/refine/other.yaml", {"refiner": {"class_path": "fake.Other", "init_args": {}}})
    run_prune(project)
    capsys.readouterr()
    ran = project.bench(**TOY, refiners=["threshold", "other"])
    assert [name for name in ran if name.startswith("seed")] == ["seed cam-toy-s0"]
    assert {name.partition(" ")[0] for name in ran} == {"seed", "refine", "evaluate"}
    assert not [name for name in ran if "threshold" in name]
    told = capsys.readouterr().out
    assert told.count("pruned, made again for what reads it") == 1
    assert "complete, pruned, skipped" in told
    seed = next(stage for stage in stages(project, "seed") if "cam" in stage.title)
    assert holds_files(seed)
    assert not (seed.path / PRUNED_FILE).exists()
    assert not any("input changed" in str(state.changes) for state in states_of(project.plan).values())


def test_what_is_made_again_needs_its_own_inputs_too(project):
    """The score of CAM's masks is lost, and its masks and seeds are pruned."""
    run_prune(project)
    score = next(stage for stage in stages(project, "evaluate") if stage.title == "cam-toy-s0-threshold")
    (score.path / MANIFEST).unlink()
    assert project.bench(**TOY) == ["seed cam-toy-s0", "refine cam-toy-s0-threshold", score.name]


def test_what_an_incomplete_stage_reads_is_kept(project, capsys):
    score = next(stage for stage in stages(project, "evaluate") if stage.title == "cam-toy-s0-threshold")
    (score.path / MANIFEST).unlink()
    run_prune(project)
    kept = [stage.name for stage in stages(project, *FOLDERS) if holds_files(stage)]
    assert kept == ["refine cam-toy-s0-threshold"]
    assert (
        "kept, since what reads them is not complete: refine cam-toy-s0-threshold" in capsys.readouterr().out
    )


def test_probabilities_go_as_soon_as_the_crf_is_done_and_come_back_for_another_one(project):
    (score, *_) = (stage for stage in stages(project, "evaluate") if stage.title == "zero-toy-s0-val")
    (score.path / MANIFEST).unlink()
    (predicted,) = (stage for stage in stages(project, "predict") if stage.title == "zero-toy-s0-val")
    run_prune(project)
    assert not (predicted.path / PROBABILITIES).exists()
    assert (predicted.path / MASKS).is_dir()
    assert project.bench(**TOY) == [score.name]  # which reads the masks alone
    data = copy.deepcopy(DATA)
    data["protocol"]["crf"] = {"iterations": 2}
    project.write("configs/data/toy.yaml", data)
    ran = project.bench(**TOY)
    assert {name.partition(" ")[0] for name in ran} == {"predict", "crf", "evaluate"}
    assert (predicted.path / PROBABILITIES).is_dir()
    states = states_of(project.plan)
    assert not any("input changed" in str(state.changes) for state in states.values())


@pytest.mark.parametrize("known", ["planned", "started"])
def test_what_another_experiment_still_reads_is_kept(project, known, capsys):
    project.write("configs/refine/other.yaml", {"refiner": {"class_path": "fake.Other", "init_args": {}}})
    other = make_plan(project.experiment("second", **TOY, refiners=["other"]), project.runs)
    (new,) = (stage for stage in other.stages.values() if stage.name == "refine cam-toy-s0-other")
    if known == "planned":
        write_plan_record(other, project.runs)
    else:
        new.write_plan()
    run_prune(project)
    assert "kept, since other experiments read them: seed cam-toy-s0" in capsys.readouterr().out
    assert holds_files(next(stage for stage in stages(project, "seed") if "cam" in stage.title))
    for stage in other.stages.values():  # the other experiment is run to its end
        stage.write_plan()
        run_stage(stage.arguments)
    run_prune(project)
    assert not any(map(holds_files, stages(project, *FOLDERS)))


def test_an_interrupted_prune_is_no_damage_and_goes_on(project, monkeypatch):
    def half(folder):
        next(folder.iterdir()).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning.shutil, "rmtree", half)
    with pytest.raises(KeyboardInterrupt):
        run_prune(project)
    monkeypatch.undo()
    assert {state.progress for state in states_of(project.plan).values()} == {"complete"}
    assert sum(bool(state.pruned) for state in states_of(project.plan).values()) == 1
    run_prune(project)
    assert not any(map(holds_files, stages(project, *FOLDERS)))


def test_kinds_may_be_kept_and_running_work_is_left_alone(project, capsys):
    run_prune(project, "--keep", "pseudo-masks", "--keep", "predictions")
    kept = {stage.kind for stage in stages(project, *FOLDERS) if holds_files(stage)}
    assert kept == {"refine", "predict", "crf"}
    assert not any((stage.path / PROBABILITIES).exists() for stage in stages(project, "predict"))
    first = stages(project, "refine")[0]
    capsys.readouterr()
    with locked(first.path, "bench"):
        run_prune(project)
    assert f"kept, since another process works in them: {first.name}\n" in capsys.readouterr().out
    assert [stage for stage in stages(project, *FOLDERS) if holds_files(stage)] == [first]


def test_the_bench_records_its_stages(project):
    record = find_json(project.runs / "toy" / PLAN_RECORD)
    assert record.keys() == {stage.path.name for stage in project.plan.stages.values()}
    seed, train = (next(iter(stages(project, kind))).path.name for kind in ("seed", "train"))
    assert record[seed] == [train]
    shutil.rmtree(project.runs / "toy")
    assert project.bench(**TOY) == []
