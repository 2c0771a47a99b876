"""Several benches in one folder: each stage runs once, and what one leaves another one goes on with."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fakes import run_stage
from test_packing import Silent
from test_runner import attempts, is_alive, start_bench, wait_for_stages
from test_schedule import bench as schedule  # noqa: F401 - a fixture

from wsss_bench.artifacts import locks
from wsss_bench.artifacts.files import is_complete, write_json
from wsss_bench.artifacts.holder import Holder
from wsss_bench.artifacts.layout import FAILURE_FILE, MANIFEST, find_json
from wsss_bench.artifacts.lock_folder import LOCKS, enter_free, entries_of, leave, lock_of
from wsss_bench.artifacts.locks import SILENT_SECONDS, LockHeld, Locks
from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.bench import runner
from wsss_bench.bench.launchers import LocalLauncher, Running
from wsss_bench.bench.progress import PlainReporter
from wsss_bench.bench.resources import Machine
from wsss_bench.bench.run_bench import run_bench
from wsss_bench.bench.runner import LOST, Runner
from wsss_bench.bench.running import Failure, Snapshot
from wsss_bench.bench.stages_to_run import open_again
from wsss_bench.bench.time_left import TimeLeft
from wsss_bench.plan.plan import StageFolder
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.state import states_of

ELSEWHERE = replace(Holder.this("bench"), host="node7", user="ada", process=42, kernel="another")
TABLES = ("leaderboard.csv", "leaderboard.md")
SLEEPS = {"model": {"init_args": {"sleep": 0.4}}}


def table(runs: Path) -> list[str]:
    return [(runs / "toy" / name).read_text() for name in TABLES]


@pytest.mark.slow
def test_two_benches_at_once_share_the_work_and_have_the_table_of_one(project, tmp_path):
    file = project.experiment(override=dict.fromkeys(("cam", "full"), SLEEPS))
    assert start_bench(file, tmp_path / "whole").wait() == 0
    benches = [start_bench(file, project.runs) for _ in range(2)]
    assert [one.wait(60) for one in benches] == [0, 0]
    assert len(attempts(project)) == 20
    assert set(attempts(project).values()) == {1}
    assert table(project.runs) == table(tmp_path / "whole")
    assert not (project.runs / "stages" / LOCKS).exists()


@pytest.mark.slow
def test_a_bench_takes_over_from_one_that_is_killed(project, tmp_path):
    slow = {"model": {"init_args": {"sleep": 2.0}}}
    file = project.experiment(methods=["full"], override={"full": slow})
    assert start_bench(file, tmp_path / "whole").wait() == 0
    first = start_bench(file, project.runs)
    (stage,) = wait_for_stages(project, first, 1)
    second = start_bench(file, project.runs)
    time.sleep(0.8)
    assert second.poll() is None
    assert max(attempts(project).values()) == 1  # it waits
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert second.wait(60) == 0
    assert not is_alive(stage)
    found = {name.partition("-")[0]: count for name, count in attempts(project).items()}
    assert found.pop("train") == 2
    assert set(found.values()) == {1}
    assert table(project.runs) == table(tmp_path / "whole")


@pytest.mark.slow
def test_a_stage_that_failed_in_one_bench_has_failed_in_both(project):
    failing = {"model": {"init_args": {"sleep": 1.5, "fail": "no such luck"}}}
    file = project.experiment(methods=["full"], override={"full": failing})
    benches = [start_bench(file, project.runs) for _ in range(2)]
    assert [one.wait(60) for one in benches] == [1, 1]
    assert set(attempts(project).values()) == {1}
    (failure,) = (project.runs / "stages").glob(f"train-full-*/{FAILURE_FILE}")
    assert find_json(failure)["reason"] == "exit status 1"
    assert find_json(failure)["bench"].endswith(tuple(f"process {one.pid}" for one in benches))


def held(stage) -> Path:
    """A lock of a bench on another machine; returns its entry."""
    stage.path.parent.mkdir(parents=True, exist_ok=True)
    enter_free(lock_of(stage.path), "far-0", ELSEWHERE)
    return lock_of(stage.path) / "far-0"


def beats(entry: Path, until: float):
    """The signs of life of another bench."""
    times = range(1, int(until // locks.BEAT_SECONDS))
    return [(one * locks.BEAT_SECONDS, lambda one=one: os.utime(entry, (one, one))) for one in times]


def ends(stage, entry: Path, write) -> None:
    stage.path.mkdir(exist_ok=True)
    write()
    leave(entry.parent, entry.name)


def test_what_another_bench_completes_counts_and_holds_no_gpu(schedule):  # noqa: F811
    train = schedule.add("train", 1, 5000.0)
    schedule.add("seed", 1, 10.0, train)
    schedule.add("other", 1, 20.0)
    entry = held(train)
    done = (3000.0, lambda: ends(train, entry, lambda: write_json(train.path / MANIFEST, {})))
    found = schedule.run(Machine(1, ("0",)), others=[*beats(entry, 3000.0), done])
    assert found.failures == []
    assert [one.stage.title for one in found.history] == ["other", "seed"]
    assert found.begin("other") == 0.0
    assert 3000.0 <= found.begin("seed") < 3000.0 + 2 * runner.LOOK_SECONDS
    assert found.said == ["train runs elsewhere (ada@node7, process 42)"]


def test_a_bench_on_another_machine_that_died_is_taken_over(schedule):  # noqa: F811
    train = schedule.add("train", 1, 50.0)
    entry = held(train)
    found = schedule.run(Machine(1, ("0",)), others=[*beats(entry, 100.0), (1e5, lambda: None)])
    assert found.failures == []
    last = 75.0
    assert last + SILENT_SECONDS <= found.begin("train") < last + SILENT_SECONDS + 3 * runner.LOOK_SECONDS
    assert found.begin("train") < 1000.0


def test_what_fails_in_another_bench_has_failed_with_its_reason(schedule):  # noqa: F811
    train = schedule.add("train", 1, 50.0)
    schedule.add("seed", 1, 10.0, train)
    train.path.mkdir(parents=True)
    write_json(train.path / FAILURE_FILE, {"reason": "of an earlier bench"})
    entry = held(train)
    failure = {"reason": "exit status 3", "bench": "ada@node7, process 42"}
    failed = (40.0, lambda: ends(train, entry, lambda: write_json(train.path / FAILURE_FILE, failure)))
    found = schedule.run(Machine(1, ("0",)), others=[failed])
    assert found.history == []
    reasons = [one.reason for one in found.failures]
    assert reasons[0] == "exit status 3, in another bench (ada@node7, process 42)"
    assert reasons[1].startswith("skipped")


def test_what_was_interrupted_in_another_bench_is_run_also_if_it_had_failed_before(schedule):  # noqa: F811
    train = schedule.add("train", 1, 50.0)
    train.path.mkdir(parents=True)
    write_json(train.path / FAILURE_FILE, {"reason": "of an earlier bench"})
    entry = held(train)
    found = schedule.run(Machine(1, ("0",)), others=[(40.0, lambda: ends(train, entry, lambda: None))])
    assert found.failures == []
    assert [one.stage.title for one in found.history] == ["train"]


def test_gpus_are_not_kept_for_a_stage_of_several_that_runs_elsewhere(schedule):  # noqa: F811
    both = schedule.add("both", 2, 500.0)
    schedule.add("a", 1, 100.0)
    schedule.add("b", 1, 90.0)
    schedule.add("c", 1, 80.0)
    entry = held(both)
    done = (400.0, lambda: ends(both, entry, lambda: write_json(both.path / MANIFEST, {})))
    found = schedule.run(Machine(2, ("0", "1")), others=[*beats(entry, 400.0), done])
    assert found.failures == []
    assert max(found.begin(name) for name in "abc") < 100.0


def test_an_input_that_another_bench_opens_again_is_waited_for(schedule):  # noqa: F811
    train = schedule.add("train", 1, 50.0)
    schedule.add("seed", 1, 10.0, train)
    schedule.add("long", 1, 100.0)
    train.path.mkdir(parents=True)
    (train.path / MANIFEST).write_text("{}")
    entries = []

    def opens():
        entries.append(held(train))
        (train.path / MANIFEST).unlink()

    def closes():
        ends(train, entries[0], lambda: write_json(train.path / MANIFEST, {}))

    found = schedule.run(Machine(1, ("0",)), others=[(50.0, opens), (150.0, closes)])
    assert found.failures == []
    assert [one.stage.title for one in found.history] == ["long", "seed"]
    assert found.begin("seed") >= 150.0


def note_entries(arguments: list[str]) -> int:
    """A stage that is opened like a real one, and writes down who works in it."""
    config = yaml.safe_load(Path(arguments[2]).read_text())
    with open_stage(config["out"], "train", {}, StageInfo()):
        found = [entry.holder for entry in entries_of(lock_of(Path(config["out"])))]
        print("works:", *sorted(f"{one.work} {one.process}" for one in found), os.getpid())
    return 0


def test_a_stage_works_under_the_lock_of_the_bench_that_starts_it(project):
    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    launcher = LocalLauncher(note_entries, preload=())
    failures = Runner(plan, StageFolder(project.runs), Machine(1), launcher, Silent()).run()
    assert failures == []
    train = next(iter(plan.stages.values()))
    *works, process = (train.path / "log.txt").read_text().partition("works: ")[2].split()
    assert works == ["bench", str(os.getpid()), "stage", process]


class TakenOver(Running):
    """A launcher whose first stage loses its lock to another bench, which completes it."""

    def __init__(self) -> None:
        self.jobs, self.killed = [], 0
        self.other = Locks("bench")
        self.deadline = time.monotonic() + 20

    def start(self, job):
        self.jobs.append(job)
        if len(self.jobs) > 1:
            run_stage(list(job.arguments))
        else:
            for entry in lock_of(job.folder).iterdir():
                entry.unlink()
            assert self.other.take(job.folder) is None
        return self

    @property
    def exit_status(self):
        if len(self.jobs) > 1:
            return 0
        assert time.monotonic() < self.deadline, "was not stopped"
        return -signal.SIGKILL if self.killed else None

    def terminate(self):
        raise AssertionError("a training would write a checkpoint")

    def kill(self):
        self.killed += 1
        job = self.jobs[0]

        def complete():
            run_stage(list(job.arguments))
            self.other.release(job.folder)

        threading.Timer(0.3, complete).start()


def test_a_stage_whose_lock_is_lost_is_stopped_and_waited_for(project, monkeypatch):
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.05)
    said, launcher = [], TakenOver()

    class Noting(Silent):
        def finished(self, stage, seconds, failure):
            said.append((stage.kind, failure.reason if failure else ""))

        def elsewhere(self, stage, holder):
            said.append((stage.kind, holder.kind))

    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    assert Runner(plan, StageFolder(project.runs), Machine(1), launcher, Noting()).run() == []
    assert said[:3] == [("train", LOST), ("train", "bench"), ("train", "")]
    assert launcher.killed == 1
    assert set(attempts(project).values()) == {1}
    assert all(is_complete(stage.path) for stage in plan.stages.values())


def test_a_bench_waits_for_a_stage_that_is_run_by_hand(project, monkeypatch, capsys):
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.05)
    file = project.experiment(methods=["full"])
    plan = make_plan(file, project.runs)
    train = next(stage for stage in plan.stages.values() if stage.kind == "train")
    train.write_plan()
    by_hand = Locks("stage")
    by_hand.take(train.path)

    def complete():
        run_stage(train.arguments)
        by_hand.release(train.path)

    timer = threading.Timer(0.5, complete)
    timer.start()
    assert run_bench(plan, project.runs, 2, LocalLauncher(run_stage, preload=())) == 0
    timer.join()
    assert set(attempts(project).values()) == {1}
    said = capsys.readouterr().out
    assert said.count(f"WAITS   {train.name} runs in another process ({by_hand.owner})") == 1
    assert f"done    {train.name} (2 s)" in said


def test_stages_that_are_run_again_are_left_if_another_bench_works_in_one(project):
    file = project.experiment(methods=["full"])
    bench = LocalLauncher(run_stage, preload=())
    plan = make_plan(file, project.runs)
    assert run_bench(plan, project.runs, 2, bench) == 0
    train, *_, last = plan.stages.values()
    with Locks("bench") as other:
        other.take(last.path)
        with pytest.raises(LockHeld, match="nothing was removed, since another bench is working in"):
            run_bench(plan, project.runs, 2, bench, again=["full"])
        assert all(is_complete(stage.path) for stage in plan.stages.values())
        assert Locks("bench").holder_of(train.path) is None


def test_what_another_bench_has_mended_since_is_not_opened_again(project):
    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    assert run_bench(plan, project.runs, 2, LocalLauncher(run_stage, preload=())) == 0
    train = next(iter(plan.stages.values()))
    checkpoint = train.path / "checkpoints" / "last.ckpt"
    content = checkpoint.read_bytes()
    checkpoint.unlink()
    states = states_of(plan)
    assert states[train.fingerprint].progress == "damaged"
    with Locks("bench") as mine, Locks("bench") as other:
        other.take(train.path)
        open_again(plan, states, [], mine)  # it is left to the other one
        assert is_complete(train.path)
        other.release(train.path)
        checkpoint.write_bytes(content)
        open_again(plan, states, [], mine)
        assert is_complete(train.path)
        checkpoint.unlink()
        open_again(plan, states, [], mine)
        assert not is_complete(train.path)


@pytest.mark.parametrize("again", [[], ["full"]])
def test_a_dead_bench_elsewhere_keeps_no_damaged_stage_from_being_made(project, monkeypatch, capsys, again):
    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    bench = LocalLauncher(run_stage, preload=())
    assert run_bench(plan, project.runs, 2, bench) == 0
    *_, last = plan.stages.values()
    (last.path / MANIFEST).write_text("{")
    enter_free(lock_of(last.path), "far-0", ELSEWHERE)
    monkeypatch.setattr(locks, "SILENT_SECONDS", 1.0)
    capsys.readouterr()
    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    assert run_bench(plan, project.runs, 2, bench, again) == 0
    assert find_json(last.path / MANIFEST)
    said = f"{last.name} is locked by ada@node7, process 42; waiting for a sign of life"
    assert said in capsys.readouterr().out


def test_plain_lines_name_what_is_waited_for(schedule, capsys):  # noqa: F811
    train = schedule.add("cam-mini-s0", 1, 50.0)
    reporter = PlainReporter(TimeLeft(Machine(1), lambda stage: None))
    reporter.elsewhere(train, ELSEWHERE)
    reporter._next = 0.0
    reporter.tick(Snapshot([], [train], [Failure(train, "x")], 3, [(train, ELSEWHERE)]))
    out = capsys.readouterr().out
    assert "train cam-mini-s0 runs in another bench (ada@node7, process 42)" in out
    assert "running: nothing; waiting for other processes: train cam-mini-s0" in out
