"""Shows the progress of a bench where there is no terminal: plain lines. `live` is for terminals."""

from __future__ import annotations

import sys
import time
from typing import Any

from wsss_bench.artifacts.holder import Holder
from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.bench.running import Active, Failure, Snapshot
from wsss_bench.bench.time_left import TimeLeft, rough
from wsss_bench.plan.plan import Stage, clock

PLAIN_SECONDS = 30.0


class PlainReporter:
    """Prints a line when a stage starts or ends, and the running stages every half minute.

    Args:
        time_left: What the bench and its stages have left.
        file: Where the lines go; stdout by default.
    """

    def __init__(self, time_left: TimeLeft, file: Any = None) -> None:
        self._time_left = time_left
        self._file = file or sys.stdout
        self._next = time.monotonic() + PLAIN_SECONDS

    def started(self, stage: Stage) -> None:
        self._say(f"start   {stage.name}")

    def finished(self, stage: Stage, seconds: float, failure: Failure | None) -> None:
        if failure is None:
            self._time_left.learn(stage)
            self._say(f"done    {stage.name} ({clock(seconds)})")
        else:
            self._say(f"{'FAILED ' if failure.started else 'skipped'} {stage.name}: {failure.reason}")

    def elsewhere(self, stage: Stage, holder: Holder) -> None:
        self._say(f"WAITS   {elsewhere_message(stage, holder)}")

    def stalled(self, stage: Stage, seconds: float) -> None:
        self._say(f"STALLED {stall_message(stage, seconds)}")

    def set_aside(self, gpu: str, left: int) -> None:
        self._say(f"SET ASIDE {set_aside_message(gpu, left)}")

    def stopping(self, trainings: int) -> None:
        self._say(f"STOPPING {stopping_message(trainings)}")

    def tick(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PLAIN_SECONDS
        parts = [*counts(snapshot), str(self._time_left.left(snapshot))]
        running = "; ".join(f"{one.name} {self._how_far(one)}" for one in snapshot.active)
        others = ", ".join(stage.name for stage, _ in snapshot.elsewhere)
        waits = f"; waiting for other processes: {others}" if others else ""
        self._say(f"{', '.join(filter(None, parts))}; running: {running or 'nothing'}{waits}")

    def _how_far(self, active: Active) -> str:
        """`120/1000 images, 12 s, 1 min left`; only the elapsed time before the first unit of work."""
        progress = self._time_left.progress(active)
        if not active.begun:
            return f"in the queue for {clock(progress.elapsed)}"
        left = "" if progress.left is None else f"{rough(progress.left)} left"
        return ", ".join(filter(None, [progress.counted, clock(progress.elapsed), left]))

    def _say(self, line: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {line}", file=self._file, flush=True)


def counts(snapshot: Snapshot) -> list[str]:
    """`12/54 stages done`, and how many failed and were skipped, if any."""
    parts = [f"{snapshot.done}/{snapshot.total} stages done"]
    parts += [f"{snapshot.failed} failed"] if snapshot.failed else []
    return parts + ([f"{snapshot.skipped} skipped"] if snapshot.skipped else [])


def elsewhere_message(stage: Stage, holder: Holder) -> str:
    """Who runs a stage that this bench waits for."""
    return f"{stage.name} runs in another {holder.kind} ({holder})"


def stall_message(stage: Stage, seconds: float) -> str:
    """What is known about a stage that makes no progress, and where to look."""
    log = stage.path / LOG_FILE
    return f"{stage.name}: no progress for {clock(seconds)}; it is not stopped, its log is {log}"


def set_aside_message(gpu: str, left: int) -> str:
    """That stages die on a GPU, and what the user should do."""
    host, _, number = gpu.rpartition(":")
    advice = f" on {host}" if host else "; CUDA_VISIBLE_DEVICES leaves it out"
    return (
        f"GPU {gpu}: two stages failed on it at once; it gets no more of them, {left} are left. "
        f"Look at `nvidia-smi -i {number} -q`{advice}"
    )


def stopping_message(trainings: int) -> str:
    """Why the bench does not end at once."""
    whose = (
        "a training writes its checkpoint" if trainings == 1 else f"{trainings} trainings write checkpoints"
    )
    return f"{whose}, for half a minute at most; Ctrl-C again ends at once"
