"""A bench in virtual time: the runner itself, with a clock that jumps from one end of a stage to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from wsss_bench.artifacts.files import MANIFEST
from wsss_bench.artifacts.layout import LOG_FILE, TOGETHER
from wsss_bench.bench import runner
from wsss_bench.bench.launchers import Job
from wsss_bench.bench.resources import Machine
from wsss_bench.bench.runner import Runner
from wsss_bench.plan.plan import Plan, Stage, StageFolder

Ends = Callable[[Stage, tuple[str, ...], int], tuple[float, int]]
"""Seconds and exit status of a stage on its GPUs, in its nth attempt."""


class Clock:
    """Seconds since the bench began; sleeping jumps to the next end of a stage.

    Attributes:
        others: What other benches do, each with its time; while there is any of it, sleeping takes its time.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.ends: list[float] = []
        self.others: list[tuple[float, Callable[[], object]]] = []

    def sleep(self, seconds: float) -> None:
        coming = [end for end in self.ends if end > self.now]
        self.now = self.now + seconds if self.others or not coming else min(coming)
        while self.others and self.others[0][0] <= self.now:
            self.others.pop(0)[1]()


@dataclass
class Started:
    """A stage that was started.

    Attributes:
        stage: The stage.
        gpus: Its GPUs.
        begin, end: In virtual seconds.
        status: How it ends.
    """

    stage: Stage
    gpus: tuple[str, ...]
    begin: float
    end: float
    status: int
    message: str
    clock: Clock
    killed: bool = False
    has_begun: bool = True

    @property
    def exit_status(self) -> int | None:
        if self.clock.now < self.end and not self.killed:
            return None
        if self.status == 0 and not self.killed:
            (self.stage.path / MANIFEST).write_text("{}")
        elif self.message:
            (self.stage.path / LOG_FILE).write_text(self.message)
        return self.status

    def terminate(self) -> None:
        self.killed = True

    def kill(self) -> None:
        self.killed = True


@dataclass
class Simulated:
    """The history of a bench, and its launcher.

    Args:
        stages: Those of the plan, by folder.
        clock: Of the bench.
        ends: What happens to a stage.
        message: The log of a stage that fails.
    """

    stages: Mapping[Path, Stage]
    clock: Clock
    ends: Ends
    message: str = ""
    history: list[Started] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    failures: list = field(default_factory=list)

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass

    def start(self, job: Job) -> Started:
        assert TOGETHER not in job.arguments
        stage = self.stages[job.folder]
        gpus = tuple(job.gpus or ())
        attempt = sum(one.stage is stage for one in self.history) + 1
        seconds, status = self.ends(stage, gpus, attempt)
        now = self.clock.now
        started = Started(stage, gpus, now, now + seconds, status, self.message, self.clock)
        self.clock.ends.append(started.end)
        self.history.append(started)
        return started

    # as a reporter
    def started(self, stage: Stage) -> None:
        pass

    def finished(self, stage: Stage, seconds: float, failure) -> None:
        if failure is not None:
            self.said.append(failure.reason)

    def elsewhere(self, stage: Stage, holder) -> None:
        self.said.append(f"{stage.title} runs elsewhere ({holder})")

    def stalled(self, stage: Stage, seconds: float) -> None:
        pass

    def set_aside(self, gpu: str, left: int) -> None:
        self.said.append(f"{gpu} set aside, {left} left")

    def stopping(self, trainings: int) -> None:
        pass

    def tick(self, snapshot) -> None:
        pass

    @property
    def seconds(self) -> float:
        """Until the last stage ended."""
        return max(one.end for one in self.history)

    def busy(self) -> float:
        """GPU seconds that were used."""
        return sum((one.end - one.begin) * len(one.gpus) for one in self.history)

    def begin(self, title: str) -> float:
        """When a stage was started for the last time."""
        return max(one.begin for one in self.history if one.stage.title == title)


def simulate(
    monkeypatch: pytest.MonkeyPatch,
    plan: Plan,
    folder: StageFolder,
    machine: Machine,
    seconds: Callable[[Stage], float],
    ends: Ends | None = None,
    message: str = "",
    others: Sequence[tuple[float, Callable[[], object]]] = (),
) -> Simulated:
    """Run a plan in virtual time.

    Args:
        monkeypatch: For the clock.
        plan, folder, machine: As for the runner.
        seconds: The estimates of the runner.
        ends: What really happens; by default stages take what was estimated, and succeed.
        message: The log of a stage that fails.
        others: What other benches do, and when, in order.
    """
    clock = Clock()
    clock.others += others
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(runner, "begin_anew_if_inputs_changed", lambda stage: None)
    stages = {stage.path: stage for stage in plan.stages.values()}
    found = Simulated(stages, clock, ends or (lambda stage, gpus, attempt: (seconds(stage), 0)), message)
    found.failures = Runner(plan, folder, machine, found, found, stalled_minutes=1e9, seconds=seconds).run()
    return found
