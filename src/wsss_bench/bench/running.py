"""Stages that run or have failed, as the runner tells them to those who show progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wsss_bench.artifacts.holder import Holder
from wsss_bench.bench.launchers import Running
from wsss_bench.bench.stalls import StallWatch
from wsss_bench.plan.plan import Stage

TAIL_LINES = 15


@dataclass(frozen=True)
class Failure:
    """A stage that did not complete.

    Args:
        stage: The stage.
        reason: Exit status or signal; for a skipped stage, the input that failed.
        tail: Last lines of its log.
        started: False for a skipped stage.
    """

    stage: Stage
    reason: str
    tail: str = ""
    started: bool = True


@dataclass
class Active:
    """A process that runs now.

    Args:
        stage: Its stage, or the first of several; the log of all is in its folder.
        companions: Further stages that it runs together with the first (`Stage.shares`).
        running: The process.
        gpus: Those that it holds.
        slots: Of the machine's jobs on cores; 0 for a stage on GPUs.
        watch: Of its progress.
        started: When, on `time.monotonic`; anew when it leaves the queue.
        begun: False while it waits in a queue.
        lost: Whether another process has taken over the lock of a stage, so that it was told to end.
    """

    stage: Stage
    companions: list[Stage]
    running: Running
    gpus: tuple[str, ...]
    slots: int
    watch: StallWatch
    started: float
    begun: bool = True
    lost: bool = False

    @property
    def stages(self) -> list[Stage]:
        """All of its stages."""
        return [self.stage, *self.companions]

    @property
    def name(self) -> str:
        """Of its stage, and how many run with it."""
        more = len(self.companions)
        return self.stage.name + (f" (and {more} more together)" if more else "")


@dataclass(frozen=True)
class Snapshot:
    """How far a bench is.

    Args:
        active: The processes that run.
        waiting: The stages that were not started yet, in the order in which they are looked at.
        failures: The stages that failed or were skipped for good.
        total: Number of stages that this bench runs.
        elsewhere: The waiting stages that other processes run, with these processes.
    """

    active: Sequence[Active]
    waiting: Sequence[Stage]
    failures: Sequence[Failure]
    total: int
    elsewhere: Sequence[tuple[Stage, Holder]] = ()

    @property
    def running(self) -> int:
        """Number of stages that run."""
        return sum(len(one.stages) for one in self.active)

    @property
    def done(self) -> int:
        """Number of stages that are complete."""
        return self.total - len(self.waiting) - self.running - len(self.failures)

    @property
    def failed(self) -> int:
        """Number of stages that ran and failed."""
        return sum(failure.started for failure in self.failures)

    @property
    def skipped(self) -> int:
        """Number of stages whose input failed."""
        return len(self.failures) - self.failed


class Reporter(Protocol):
    """Shows progress."""

    def started(self, stage: Stage) -> None:
        """A stage was started."""

    def finished(self, stage: Stage, seconds: float, failure: Failure | None) -> None:
        """A stage ended, or was skipped (after 0 s) because an input failed."""

    def elsewhere(self, stage: Stage, holder: Holder) -> None:
        """A stage that could run is run by another process, which this bench waits for."""

    def stalled(self, stage: Stage, seconds: float) -> None:
        """A running stage made no progress for `seconds`."""

    def set_aside(self, gpu: str, left: int) -> None:
        """Stages die on a GPU, which gets no more of them; `left` GPUs are used."""

    def stopping(self, trainings: int) -> None:
        """The bench is stopped; so many trainings write a checkpoint first."""

    def tick(self, snapshot: Snapshot) -> None:
        """Called many times a second."""


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """Last lines of a log; empty if there is no log."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 16384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
