"""Running a plan: real processes with fake stages."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import paths
import pytest
from fakes import run_stage
from project import Project

from wsss_bench.bench.command import main
from wsss_bench.bench.launchers import LocalLauncher
from wsss_bench.bench.run_bench import run_bench
from wsss_bench.bench.signals import Stopped, in_a_hurry, stop_signals
from wsss_bench.plan.planner import make_plan


def bench(project: Project, file: Path, jobs: int = 2) -> int:
    return run_bench(make_plan(file, project.runs), project.runs, jobs, LocalLauncher(run_stage, preload=()))


def attempts(project: Project) -> dict[str, int]:
    return {
        path.parent.name: len(path.read_text().split())
        for path in (project.runs / "stages").glob("*/attempts.txt")
    }


@pytest.mark.slow
def test_everything_runs_once_and_a_second_bench_runs_nothing(project, capsys):
    file = project.experiment()
    assert bench(project, file) == 0
    assert len(attempts(project)) == 20
    table = (project.runs / "toy" / "leaderboard.csv").read_text()
    capsys.readouterr()
    assert bench(project, file) == 0
    assert set(attempts(project).values()) == {1}
    assert (project.runs / "toy" / "leaderboard.csv").read_text() == table
    assert "20 complete, 0 to run" in capsys.readouterr().out


@pytest.mark.slow
def test_log_holds_output_and_command(project):
    bench(project, project.experiment(methods=["full"]))
    (log,) = (project.runs / "stages").glob("train-full-toy-s0-*/log.txt")
    text = log.read_text()
    assert "train of full-toy-s0 is done" in text
    assert "wsss-bench fit --config" in text
    assert "started in" in text


@pytest.mark.slow
def test_a_failure_stops_its_dependents_only(project, capfd):
    file = project.experiment(override={"cam": {"model": {"init_args": {"fail": "no such luck"}}}})
    assert bench(project, file) == 1
    captured = capfd.readouterr()
    assert "FAILED train cam-toy-s0: exit status 1" in captured.err
    assert "ValueError: no such luck" in captured.err  # the tail of the log
    assert "not started, because an input failed:\n  seed cam-toy-s0\n" in captured.err
    assert "\n  evaluate cam-toy-s0-seed\n" in captured.err
    assert "1 stages failed and 4 were skipped, of 20" in captured.err
    assert len(list((project.runs / "stages").glob("evaluate-*/stage.json"))) == 5  # zero: 3, full: 2
    assert "failed" in captured.out  # in the table


@pytest.mark.slow
def test_a_failed_stage_is_tried_again(project):
    file = project.experiment(methods=["full"], override={"full": {"model": {"init_args": {"signal": 9}}}})
    assert bench(project, file) == 1
    (failure,) = (project.runs / "stages").glob("train-full-*/failed.json")
    assert json.loads(failure.read_text())["reason"] == "killed by signal 9"
    assert bench(project, file) == 1
    assert max(attempts(project).values()) == 4  # each bench tries a killed stage twice


def test_a_stage_that_ends_without_a_manifest_has_failed(project, capfd):
    file = project.experiment(methods=["full"], override={"full": {"model": {"init_args": {"forget": True}}}})
    assert bench(project, file) == 1
    assert "ended without its stage.json" in capfd.readouterr().err


def test_an_unbuildable_data_set_stops_the_bench(project):
    import yaml
    from project import DATA

    content = yaml.safe_load(yaml.safe_dump(DATA))
    content["protocol"]["prepare"] = ["no-such-command"]
    project.write("configs/data/toy.yaml", content)
    with pytest.raises(ValueError, match="data set toy could not be prepared"):
        main([str(project.experiment()), "--runs", str(project.runs)])


def start_bench(file: Path, runs: Path, **options: Any) -> subprocess.Popen[Any]:
    tests = paths.ROOT / "tests"
    command = [sys.executable, str(tests / "fakes.py"), str(file), str(runs)]
    # a command of the package that ran in this process may have set PYTHONSAFEPATH
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, **options)


def is_alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    return False


@pytest.mark.slow
def test_a_killed_bench_leaves_no_stage_running_and_goes_on(project, tmp_path):
    slow = {name: {"model": {"init_args": {"sleep": 30.0}}} for name in ("cam", "full")}
    file = project.experiment(override=slow)
    process = start_bench(file, project.runs)
    stages = wait_for_stages(project, process, 2)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(is_alive(stage) for stage in stages) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_alive(stage) for stage in stages)


@pytest.mark.slow
def test_killed_at_random_moments_the_table_is_the_same(project, tmp_path):
    override = {name: {"model": {"init_args": {"sleep": 0.2}}} for name in ("cam", "full")}
    file = project.experiment(override=override)
    assert start_bench(file, tmp_path / "whole").wait() == 0
    draw = random.Random(0)
    for _ in range(5):
        process = start_bench(file, project.runs)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.3, 1.2))
        process.kill()
        process.wait()
    assert start_bench(file, project.runs).wait() == 0
    for name in ("leaderboard.csv", "leaderboard.md"):
        assert (project.runs / "toy" / name).read_text() == (tmp_path / "whole" / "toy" / name).read_text()


def wait_for_stages(project: Project, process: subprocess.Popen[Any], count: int) -> list[int]:
    """Process ids of the first `count` training stages that run."""
    deadline = time.monotonic() + 60
    started: list[str] = []
    while len(started) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
        notes = [path.read_text() for path in (project.runs / "stages").glob("train-*/attempts.txt")]
        started = [note for note in notes if note]  # a file is there before its line is
    assert len(started) == count
    return [int(note) for note in started]


def start_and_wait_for_a_stage(project: Project, **behaviour: object) -> tuple[subprocess.Popen[str], int]:
    """A bench whose first stage runs, and the process id of that stage."""
    arguments = {"full": {"model": {"init_args": {"sleep": 30.0, **behaviour}}}}
    file = project.experiment(methods=["full"], override=arguments)
    process = start_bench(
        file,
        project.runs,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job, and so whatever it starts, may ignore them
        preexec_fn=lambda: [
            signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)
        ],
    )
    return process, wait_for_stages(project, process, 1)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)],
)
def test_a_signal_stops_the_stages_and_says_how_to_go_on(number, status, project):
    process, stage = start_and_wait_for_a_stage(project)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)  # the stage itself would take 30 s
    assert process.returncode == status
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert not is_alive(stage)


@pytest.mark.slow
def test_a_training_has_time_for_its_checkpoint_unless_ctrl_c_comes_again(project):
    process, stage = start_and_wait_for_a_stage(project, stubborn=True)  # it ignores SIGTERM
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(3)
    assert process.poll() is None  # other stages have half a second
    assert is_alive(stage)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)  # the training itself would take 30 s
    assert process.returncode == 143
    assert "the same command goes on" in errors
    assert not is_alive(stage)


@pytest.mark.slow
def test_stages_outlive_a_signal_to_all_other_processes_of_a_job(project):
    """A batch system sends it to the process that forks the stages too, which they end with."""
    process, stage = start_and_wait_for_a_stage(project, stubborn=True)
    os.kill(parent_of(stage), signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
    assert is_alive(stage)
    process.kill()
    process.wait()


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_signal_that_was_switched_off_stays_so():
    """`nohup` lets a bench outlive its terminal."""
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals():
            signal.raise_signal(signal.SIGHUP)
        with pytest.raises(Stopped) as caught, stop_signals():
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.exit_status == 143
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, earlier)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_signal_does_not_interrupt_the_stopping():
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    finished, before = False, signal.getsignal(signal.SIGINT)
    with contextlib.suppress(Stopped), stop_signals():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            assert not in_a_hurry()
            signal.raise_signal(signal.SIGINT)
            finished = True
    assert finished
    assert in_a_hurry()
    assert signal.getsignal(signal.SIGINT) == before
    signal.signal(signal.SIGINT, own)


def test_the_page_is_written_at_the_end_and_costs_nothing_if_it_fails(project, capsys, monkeypatch):
    file = project.experiment(methods=["full"])
    assert bench(project, file) == 0
    index = project.runs / "toy" / "report" / "index.html"
    assert "full" in index.read_text()
    assert f"page: {index}\n" in capsys.readouterr().out
    table = project.runs / "toy" / "leaderboard.md"
    table.unlink()

    def fail(*_):
        raise KeyError("a bug of the page")

    monkeypatch.setattr("wsss_bench.report.html.page.render", fail)
    assert bench(project, file) == 0
    assert table.is_file()
    assert "the page was not written: KeyError: 'a bug of the page'" in capsys.readouterr().out
