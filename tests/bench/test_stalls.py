"""Stages without progress are reported at doubling intervals, and a deleted folder ends the bench."""

from __future__ import annotations

import os
import shutil
import time

import pytest
from fakes import run_stage
from test_packing import InProcess, Silent

from wsss_bench.artifacts.disk import FolderDeleted
from wsss_bench.bench import command, runner, shared_stages
from wsss_bench.bench.progress import PlainReporter
from wsss_bench.bench.resources import Machine
from wsss_bench.bench.runner import Runner
from wsss_bench.bench.stalls import StallWatch
from wsss_bench.bench.time_left import TimeLeft
from wsss_bench.plan.plan import StageFolder
from wsss_bench.plan.planner import make_plan


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.0)


def test_silence_is_reported_at_doubling_intervals(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    watch = StallWatch(tmp_path / "progress.json", 60)
    reports = []
    for _ in range(500):
        clock.now += 1
        if seconds := watch.silent_seconds():
            reports.append(seconds)
    assert reports == [60, 120, 240, 480]


def test_progress_starts_the_time_again(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    file = tmp_path / "progress.json"
    watch = StallWatch(file, 60)
    reports = []
    for second in range(1, 301):
        clock.now += 1
        if second in (50, 100, 200):  # also when the clock of the file server stands years behind
            file.write_text("{}")
            os.utime(file, (second, second))
        if watch.silent_seconds():
            reports.append(second)
    assert reports == [160, 260]


class Reports(Silent):
    def __init__(self):
        self.stalls = []
        self.ticks = 0

    def stalled(self, stage, seconds):
        self.stalls.append((stage.name, seconds))


class Slow(InProcess):
    """A launcher whose jobs run for 100 looks of the bench."""

    def start(self, job):
        held = super().start(job)
        held._asked = -100
        return held


def test_a_bench_reports_a_stage_that_does_nothing_and_lets_it_run(project, monkeypatch):
    clock, reports = Clock(monkeypatch), Reports()

    def tick(*_):
        clock.now += 30.0

    reports.tick = tick
    plan = make_plan(project.experiment(methods=["zero"]), project.runs)
    folder = StageFolder(project.runs)
    assert Runner(plan, folder, Machine(1), Slow(), reports, stalled_minutes=10).run() == []
    seconds = [seconds for name, seconds in reports.stalls if name == "seed zero-toy-s0"]
    assert seconds == [600, 1200, 2400]


def test_the_report_names_stage_time_and_log(project, capsys):
    stage = next(iter(make_plan(project.experiment(), project.runs).stages.values()))
    PlainReporter(TimeLeft(Machine(1), lambda stage: None)).stalled(stage, 900.0)
    out = capsys.readouterr().out
    assert f"STALLED {stage.name}: no progress for 15 min 00 s" in out
    assert str(stage.path / "log.txt") in out


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_the_time_is_a_number_of_minutes(value, project, capsys):
    with pytest.raises(SystemExit):
        command.main([str(project.experiment()), "--stalled", value])
    assert "--stalled: expected a number of minutes above 0" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["runs", "runs/stages"])
def test_a_bench_whose_folder_was_deleted_says_so_and_makes_it_not_again(folder, project, tmp_path):
    class Deleting(Silent):
        def tick(self, snapshot):
            if snapshot.done >= 3:
                shutil.rmtree(tmp_path / folder)

    launcher = InProcess()
    plan = make_plan(project.experiment(), project.runs)
    with pytest.raises(FolderDeleted, match="was deleted or replaced"):
        Runner(plan, StageFolder(project.runs), Machine(2), launcher, Deleting()).run()
    assert not (tmp_path / folder).exists()
    assert launcher.terminated == launcher.stopped == launcher.running


def test_a_deleted_input_skips_what_reads_it_and_the_bench_ends(project):
    class Forgetful(Silent):
        def finished(self, stage, seconds, failure):
            if stage.kind == "train" and failure is None:
                shutil.rmtree(stage.path)

    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    failures = Runner(plan, StageFolder(project.runs), Machine(1), InProcess(), Forgetful()).run()
    reasons = {failure.reason for failure in failures}
    assert "skipped, its input (train full-toy-s0) was deleted while the bench worked" in reasons
    assert not any(failure.started for failure in failures)
    assert len(failures) == 6


def test_a_stage_on_a_full_disk_is_listed_as_such(project):
    def full(arguments):
        out = run_stage(arguments)
        folder = os.path.dirname(arguments[2])
        if "train-full" in folder:
            os.remove(os.path.join(folder, "stage.json"))
            with open(os.path.join(folder, "log.txt"), "w") as log:
                log.write("DiskFull: the disk is full: /x has 3 MB free; free some space\n")
            return 1
        return out

    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    failures = Runner(plan, StageFolder(project.runs), Machine(1), InProcess(full), Silent()).run()
    assert failures[0].reason == "the disk is full: /x has 3 MB free; free some space"


def test_a_disk_too_full_for_a_log_is_noticed_too(project, monkeypatch):
    def no_space(path, content):
        raise OSError(28, "No space left on device", str(path))

    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    monkeypatch.setattr(shared_stages, "write_json", no_space)
    failures = Runner(plan, StageFolder(project.runs), Machine(1), InProcess(lambda _: 1), Silent()).run()
    assert failures[0].reason.startswith(f"the disk is full: {failures[0].stage.path} has ")
