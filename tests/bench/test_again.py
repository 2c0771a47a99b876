"""A bench that runs stages again: on request, and where files are damaged. Fake stages without processes."""

from __future__ import annotations

import sys

import pytest
from fakes import run_stage
from project import Project
from test_packing import InProcess

from wsss_bench.artifacts import stage_files
from wsss_bench.artifacts.files import is_complete, write_json
from wsss_bench.artifacts.layout import BEGUN_FILE, LAST, LOG_FILE, MANIFEST, find_json
from wsss_bench.artifacts.metrics import METRICS
from wsss_bench.artifacts.stage_files import damaged_files, inputs_read
from wsss_bench.bench import command, run_bench, runner, stages_to_run
from wsss_bench.bench.signals import resume_command
from wsss_bench.plan.planner import make_plan
from wsss_bench.report.results import read_results

TOY = {"methods": ["cam", "zero"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("finished"))
    for stage in make_plan(project.experiment(**TOY), project.runs).stages.values():
        stage.write_plan()
        run_stage(stage.arguments)
    return project


@pytest.fixture
def bench(finished, tmp_path, monkeypatch):
    """A finished project; `bench` runs it and returns the names of the stages that ran, in order."""
    project = finished.copy_to(tmp_path / "project")
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(run_bench, "show_results", lambda plan, runs: None)

    def target(arguments: list[str]) -> int:
        try:
            return run_stage(arguments)
        except ValueError:
            return 1

    def run(*again: str, status: int = 0, **changes: object) -> list[str]:
        project.plan = make_plan(project.experiment(**changes), project.runs)
        launcher = InProcess(target)
        assert run_bench.run_bench(project.plan, project.runs, 1, launcher, again) == status
        by_path = {stage.path: stage.name for stage in project.plan.stages.values()}
        return [by_path[job.folder] for job in launcher.jobs]

    project.bench = run
    project.plan = make_plan(project.experiment(**TOY), project.runs)
    return project


CHAIN = [
    *("train cam-toy-s0", "seed cam-toy-s0", "evaluate cam-toy-s0-seed", "refine cam-toy-s0-threshold"),
    "evaluate cam-toy-s0-threshold",
]


def stage_named(project, name):
    return next(stage for stage in project.plan.stages.values() if stage.name == name)


def test_an_intact_bench_runs_nothing(bench):
    assert bench.bench(**TOY) == []


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        ("cam", CHAIN),
        ("train cam-toy-s0", CHAIN),
        ("refine cam-toy-s0-threshold", CHAIN[3:]),
        ("changed", []),
    ],
)
def test_what_is_named_runs_again_with_all_that_reads_it(bench, again, expected):
    assert sorted(bench.bench(again, **TOY)) == sorted(expected)
    assert bench.bench(**TOY) == []
    for stage in bench.plan.stages.values():  # removed, not appended to
        assert (stage.path / "attempts.txt").read_text().count("\n") == 1


def test_a_dry_run_shows_what_would_run_again_and_removes_nothing(bench, capsys, monkeypatch):
    monkeypatch.setattr(command, "check_stages_to_run", lambda *_, **__: None)  # the classes are fakes
    file = bench.experiment(**TOY)
    options = [str(file), "--runs", str(bench.runs), "--dry-run"]
    assert command.main([*options, "--again", "refine cam-toy-s0-threshold", "--again=zero"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("removed and run again") == 2 + len(
        [s for s in bench.plan.stages.values() if "zero" in s.title]
    )
    assert all(is_complete(stage.path) for stage in bench.plan.stages.values())
    with pytest.raises(ValueError, match="did you mean 'zero'"):
        command.main([*options, "--again", "zerro"])


@pytest.mark.parametrize("after", [1, 2, 4])
def test_killed_while_stages_are_removed_nothing_stale_is_left(bench, monkeypatch, after):
    """No stage is left beside an input that it was not made from, whichever have been removed by then."""
    removed = []

    def killed(path):
        if len(removed) == after:
            raise KeyboardInterrupt
        removed.append(path)
        stage_files.remove_stage(path)

    monkeypatch.setattr(stages_to_run, "remove_stage", killed)
    bench.bench("cam", status=130, **TOY)
    monkeypatch.undo()
    monkeypatch.setattr(run_bench, "show_results", lambda plan, runs: None)
    assert is_complete(stage_named(bench, "train cam-toy-s0").path)  # goes last
    for stage in bench.plan.stages.values():
        if is_complete(stage.path):
            assert all(is_complete(bench.plan.stages[key].path) for key in stage.inputs.values())


def test_the_command_that_goes_on_does_not_remove_again(monkeypatch):
    words = ["wsss-bench", "bench", "a.yaml", "--again", "cam", "--again=seed x", "--jobs", "2"]
    monkeypatch.setattr(sys, "argv", words)
    assert resume_command() == "wsss-bench bench a.yaml --jobs 2"


def test_removed_seeds_are_made_again_and_nothing_else(bench):
    seed = stage_named(bench, "seed cam-toy-s0")
    kept = (seed.path / "seeds/3.npz").stat().st_mtime_ns
    for k in (1, 2):
        (seed.path / f"seeds/{k}.npz").unlink()
    assert bench.bench(**TOY) == ["seed cam-toy-s0"]
    assert damaged_files(seed.path) == []
    assert (seed.path / "seeds/3.npz").stat().st_mtime_ns == kept
    assert bench.bench(**TOY) == []


@pytest.mark.parametrize("content", ["", '{"dataset": "to'])
def test_truncated_scores_are_made_again(bench, content):
    stage = stage_named(bench, "evaluate cam-toy-s0-seed")
    (stage.path / METRICS).write_text(content)
    assert bench.bench(**TOY) == [stage.name]
    assert damaged_files(stage.path) == []


def test_the_table_needs_only_the_scores(bench):
    """Someone copied the runs without checkpoints, seeds and masks."""
    before = read_results(bench.plan)
    for path in (bench.runs / "stages").rglob("*"):
        if path.suffix in (".npz", ".png", ".ckpt"):
            path.unlink()
    assert read_results(bench.plan) == before
    assert all(result.rows for result in before)


def flip(path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_flipped_bytes_of_a_checkpoint_reopen_the_training_of_the_stage_that_reads_it(bench, capsys):
    train = stage_named(bench, "train cam-toy-s0")
    flip(train.path / LAST)
    assert bench.bench(**TOY) == []  # nobody reads it
    assert bench.bench("seed cam-toy-s0", **TOY)[:3] == [
        "seed cam-toy-s0",
        "train cam-toy-s0",
        "seed cam-toy-s0",
    ]
    assert all(
        is_complete(stage.path) and not damaged_files(stage.path) for stage in bench.plan.stages.values()
    )
    said = capsys.readouterr().out
    assert f"tried again, since an input is damaged: train cam-toy-s0 ({LAST})" in said
    assert bench.bench(**TOY) == []


def test_a_damaged_input_is_made_again_once(bench, monkeypatch, capfd):
    """A disk that damages the checkpoint each time: the stage fails, and the bench ends."""
    train = stage_named(bench, "train cam-toy-s0")
    flip(train.path / LAST)
    real = stage_files.record_files

    def damaging(stage):
        entry = real(stage)
        if stage == train.path:
            flip(stage / LAST)
        return entry

    monkeypatch.setattr(stage_files, "record_files", damaging)
    ran = bench.bench("seed cam-toy-s0", status=1, **TOY)
    assert ran == ["seed cam-toy-s0", "train cam-toy-s0", "seed cam-toy-s0"]
    assert "FAILED seed cam-toy-s0" in capfd.readouterr().err


def test_an_interrupted_stage_begins_anew_after_its_input_was_made_again(bench):
    train, seed = (stage_named(bench, f"{kind} cam-toy-s0") for kind in ("train", "seed"))
    (seed.path / MANIFEST).unlink()  # interrupted after its results
    assert CHAIN[1] in bench.bench(**TOY)  # the input is the same: it goes on
    (seed.path / MANIFEST).unlink()
    write_json(seed.path / BEGUN_FILE, {"read": inputs_read(seed.config)})
    files = find_json(train.path / "files.json")
    (train.path / LAST).write_bytes(b"trained again")
    (train.path / MANIFEST).unlink()
    train.write_plan()
    run_stage(train.arguments)
    assert find_json(train.path / "files.json") != files
    assert CHAIN[1] in bench.bench(**TOY)
    assert "begins anew: checkpoint was made again" in (seed.path / LOG_FILE).read_text()
    assert (seed.path / "attempts.txt").read_text().count("\n") == 1


def test_a_stage_that_fails_for_another_reason_is_not_tried_again(project, monkeypatch, bench, capfd):
    changes = {
        "methods": ["zero"],
        "override": {"zero": {"model": {"init_args": {"fail": "x", "at": "seed"}}}},
    }
    ran = bench.bench(status=1, **changes)
    assert ran.count("seed zero-toy-s0") == 1
