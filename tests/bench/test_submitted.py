"""A stage that waits in a queue, and ends on a node whose files come late."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_packing import Silent

from wsss_bench.artifacts.layout import LAST, MANIFEST, PROGRESS
from wsss_bench.bench import runner, submitted
from wsss_bench.bench.attempts import Attempts
from wsss_bench.bench.cluster_stage import Ended
from wsss_bench.bench.gpu_pool import GPUPool
from wsss_bench.bench.launchers import Running
from wsss_bench.bench.resources import Machine
from wsss_bench.bench.runner import Runner
from wsss_bench.bench.shared_stages import SharedStages
from wsss_bench.bench.submitted import MOST_REFUSALS, Submitted
from wsss_bench.plan.plan import Stage, StageFolder


class Queue:
    """Where a stage is submitted to."""

    def __init__(self) -> None:
        self.avoided: list[tuple[str, ...]] = []
        self.futures: list[Future[Ended]] = []

    def submit(self, avoided):
        self.avoided.append(tuple(avoided))
        self.futures.append(Future())
        return self.futures[-1]

    def end(self, status: int | None, *gpus: str) -> None:
        self.futures[-1].set_result(Ended(status, gpus))


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def stage(queue, tmp_path, monkeypatch) -> Submitted:
    monkeypatch.setattr(submitted, "LOOK_SECONDS", 0.0)
    return Submitted(queue.submit, ("n1:0",), tmp_path / "log.txt", tmp_path, lambda: None)


def test_a_stage_begins_with_the_first_line_of_its_log(queue, tmp_path, monkeypatch):
    monkeypatch.setattr(submitted, "LOOK_SECONDS", 0.0)
    log = tmp_path / "log.txt"
    log.write_text("of an earlier attempt\n")
    stage = Submitted(queue.submit, (), log, tmp_path, lambda: None)
    assert (stage.has_begun, stage.exit_status) == (False, None)
    with open(log, "a") as file:
        file.write("begins\n")
    assert (stage.has_begun, stage.exit_status) == (True, None)


def test_files_of_a_node_may_come_late(queue, stage, tmp_path):
    queue.end(0, "n1:1")
    assert stage.exit_status is None
    (tmp_path / MANIFEST).write_text("{}")
    assert (stage.exit_status, stage.gpus) == (0, ("n1:1",))


def test_a_stage_without_its_manifest_ends_after_a_while(queue, stage, monkeypatch):
    queue.end(0)
    assert stage.exit_status is None
    monkeypatch.setattr(submitted, "VISIBLE_SECONDS", 0.0)
    assert stage.exit_status == 0


def test_a_failure_is_known_at_once(queue, stage):
    queue.end(3, "n2:0")
    assert (stage.exit_status, stage.gpus) == (3, ("n2:0",))


def test_a_stage_that_a_worker_holds_back_from_is_submitted_again(queue, stage):
    for _ in range(MOST_REFUSALS):
        queue.end(None, "n1:0")
        assert stage.exit_status is None
    assert queue.avoided == [("n1:0",)] * MOST_REFUSALS + [()]  # at last on any GPU
    queue.end(1, "n1:0")
    assert stage.exit_status == 1


def test_a_stage_that_is_told_to_end_is_not_submitted_again(queue, stage):
    stage.terminate()
    assert stage.exit_status == -signal.SIGTERM
    queue.end(None, "n1:0")
    assert stage.exit_status == -signal.SIGTERM
    assert len(queue.futures) == 1


def test_gpus_of_a_cluster_are_set_aside_by_their_own_names():
    """The names of the pool count GPUs; those that stages had are others."""
    pool = GPUPool(["g-0", "g-1", "g-2"])
    assert pool.failed("a", ["n1:0"])
    assert (pool.set_aside, pool.avoided_by("a"), pool.avoided_by("b")) == ([], ["n1:0"], [])
    assert pool.failed("b", ["n1:0"])
    assert (pool.set_aside, pool.usable, pool.avoided_by("c")) == (["n1:0"], 2, ["n1:0"])
    assert pool.free_for("c", 3) == ["g-0", "g-1", "g-2"]
    assert not pool.failed("b", ["n2:0"])  # it fails anywhere: not the GPU is to blame
    assert pool.set_aside == []


def test_the_only_gpu_is_avoided_by_nobody():
    """Else its worker would hold back from the second attempt for minutes."""
    pool = GPUPool(["g-0"])
    assert not pool.failed("a", ["n1:0"])
    assert pool.avoided_by("a") == []


class Queued(Running):
    """Waits in a queue until it is let in; then it runs until it is ended."""

    def __init__(self, job) -> None:
        self.job, self.may_begin, self.may_end = job, threading.Event(), threading.Event()

    @property
    def has_begun(self) -> bool:
        return self.may_begin.is_set()

    @property
    def exit_status(self) -> int | None:
        if not self.may_end.is_set():
            return None
        (self.job.folder / MANIFEST).write_text("{}")
        return 0

    def terminate(self) -> None:
        self.may_end.set()

    def kill(self) -> None:
        pass


def train(folder: Path) -> Stage:
    return Stage("train", "a", {"trainer": {"accelerator": "cpu"}}, {}, "a", folder / "stages" / "a", "")


def test_a_stage_in_the_queue_is_neither_stalled_nor_running(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
    stage, started, seen, stalls = train(tmp_path), [], [], []

    class Launcher:
        def start(self, job):
            started.append(Queued(job))
            return started[0]

    class Looking(Silent):
        def stalled(self, stage, seconds):
            stalls.append(seen[-1])

        def tick(self, snapshot):
            seen.append(snapshot.active[0].begun if snapshot.active else None)
            if len(seen) == 30:
                started[0].may_begin.set()
            if len(seen) == 60:
                started[0].may_end.set()

    plan = SimpleNamespace(stages={"a": stage})
    assert not Runner(plan, StageFolder(tmp_path), Machine(1), Launcher(), Looking(), 0.05 / 60).run()
    assert seen.index(True) >= 30
    assert stalls
    assert set(stalls) == {True}  # after its time has begun, it is watched as any other


def test_a_stage_whose_gpus_are_not_here_fails_and_holds_nothing_up(tmp_path):
    stage = train(tmp_path)
    stage.config["trainer"] = {"accelerator": "gpu", "devices": 2}
    plan = SimpleNamespace(stages={"a": stage})
    (failure,) = Runner(plan, StageFolder(tmp_path), Machine(1, ("0",)), None, Silent()).run()
    assert failure.reason == "could not be started: 1 GPU(s) too few for it are visible here"


def test_another_checkpoint_is_progress_though_fewer_steps_were_seen(tmp_path):
    """A lost node takes the steps after the last checkpoint with it, of the longer attempt more of them."""
    stage = train(tmp_path)
    (stage.path / LAST).parent.mkdir(parents=True)
    attempts = Attempts(SharedStages(None, [], Silent()), Silent())

    def ended(done: int, new_checkpoint: bool) -> bool:
        (stage.path / PROGRESS).write_text(f'{{"done": {done}}}')
        if new_checkpoint:
            (stage.path / LAST).write_bytes(b"")
        return attempts.may_pass(stage, -signal.SIGKILL, "")

    assert ended(5000, True)
    assert ended(4990, True)
    assert not ended(4990, False)
    assert ended(4991, False)


def test_a_lost_node_is_no_fault_of_a_gpu(queue, stage):
    """Which GPU the stage had is not known; that the pool counts it under another name blames none."""
    queue.futures[-1].set_exception(type("ManagerLost", (Exception,), {})())
    assert (stage.exit_status, stage.gpus) == (-signal.SIGKILL, ())
    pool = GPUPool(["g-0", "g-1"])
    attempts = Attempts(SharedStages(None, [], Silent()), Silent())
    for title in "abc":
        lost = Stage("train", title, {}, {}, title, Path(title), "")
        assert not attempts.moves(lost, 1.0, stage.gpus, pool)
    assert pool.set_aside == []
