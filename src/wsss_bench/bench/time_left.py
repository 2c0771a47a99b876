"""How long a bench still takes: its stages are started in turn, as the runner would, with estimated times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from wsss_bench.artifacts.layout import find_manifest
from wsss_bench.bench.resources import Machine, gpus_on_all_nodes, ranks_of, slots_of
from wsss_bench.bench.running import Active, Snapshot
from wsss_bench.bench.stage_progress import StageProgress, progress_of
from wsss_bench.plan.plan import Stage, without_random_seed


@dataclass(frozen=True)
class Left:
    """What a bench has left.

    Args:
        seconds: Until the last stage whose time can be estimated ends.
        unknown: Number of stages whose time cannot be estimated; they count nothing.
    """

    seconds: float
    unknown: int = 0

    def __str__(self) -> str:
        """`about 12 min left`; `more than` where stages of unknown length are left; else empty."""
        if self.seconds <= 0:
            return ""
        return f"{'more than' if self.unknown else 'about'} {rough(self.seconds)} left"


class TimeLeft:
    """Estimates the time that a bench has left.

    Estimates of a plan may be far off on another machine. They are scaled by what the stages of this bench
    have taken so far, against their own estimates.

    Args:
        machine: How many of them run at a time.
        seconds: The estimated wall seconds of a stage; None if unknown.
    """

    def __init__(self, machine: Machine, seconds: Callable[[Stage], float | None]) -> None:
        self._machine = machine
        self._estimate = seconds
        self._planned: dict[str, float | None] = {}
        self._measured: dict[tuple[str, str], float] = {}
        self._taken = self._expected = 0.0  # by the complete stages, and by their estimates

    def learn(self, stage: Stage) -> None:
        """A stage is complete: the same one with another random seed will take as long."""
        seconds = find_manifest(stage.path).get("wall_seconds")
        if isinstance(seconds, (int, float)):
            if (expected := self._unscaled(stage)) is not None:
                self._taken += seconds
                self._expected += expected
            self._measured[_family(stage)] = float(seconds)

    def planned(self, stage: Stage) -> float | None:
        """Wall seconds of a whole stage; None if unknown."""
        if (measured := self._measured.get(_family(stage))) is not None:
            return measured
        expected = self._unscaled(stage)
        return expected * self._taken / self._expected if expected and self._expected else expected

    def _unscaled(self, stage: Stage) -> float | None:
        if stage.fingerprint not in self._planned:
            self._planned[stage.fingerprint] = self._estimate(stage)
        return self._planned[stage.fingerprint]

    def progress(self, active: Active) -> StageProgress:
        """How far a running process is."""
        planned = [self.planned(stage) for stage in active.stages]
        known = [seconds for seconds in planned if seconds is not None]
        return progress_of(active, sum(known) if len(known) == len(planned) else None)

    def left(self, snapshot: Snapshot) -> Left:
        """What the bench has left."""
        planned = {stage.fingerprint: self.planned(stage) for stage in snapshot.waiting}
        running = [(one, self.progress(one).left) for one in snapshot.active]
        unknown = sum(seconds is None for seconds in planned.values())
        unknown += sum(len(one.stages) for one, seconds in running if seconds is None)
        ends = [(seconds or 0.0, one) for one, seconds in running]
        return Left(_Play(self._machine, snapshot.waiting, planned, ends).end(), unknown)


class _Play:
    """The start and the end of all stages that are left, one after the other.

    Args:
        machine: Its jobs and GPUs.
        waiting: The stages that were not started yet, in the order of the runner.
        planned: Their seconds, by fingerprint; None counts nothing.
        running: The processes that run, with the seconds that each has left.
    """

    def __init__(
        self,
        machine: Machine,
        waiting: Sequence[Stage],
        planned: Mapping[str, float | None],
        running: Sequence[tuple[float, Active]],
    ) -> None:
        self._machine, self._waiting, self._planned = machine, waiting, planned
        self._now = 0.0
        self._slots, self._gpus, self._on_gpus = machine.jobs, len(machine.gpus), 0
        self._ends: list[tuple[float, int, list[Stage], int, int]] = []
        self._number = count()  # of two that end together, the first one counts as less
        self._started: set[int] = set()
        self._readers: dict[str, list[int]] = {}
        self._missing: dict[int, set[str]] = {}
        self._ready: list[int] = []
        coming = {stage.fingerprint for stage in waiting}
        for seconds, active in running:
            coming |= {stage.fingerprint for stage in active.stages}
            self._run(active.stages, seconds, active.slots, len(active.gpus))
        for place, stage in enumerate(waiting):
            self._missing[place] = coming & set(stage.inputs.values())
            for key in self._missing[place]:
                self._readers.setdefault(key, []).append(place)
            if not self._missing[place]:
                heappush(self._ready, place)

    def end(self) -> float:
        """Seconds until the last stage ends."""
        self._start_ready()
        while self._ends:
            self._now, _, stages, slots, gpus = heappop(self._ends)
            self._slots += slots
            self._gpus += gpus
            self._on_gpus -= bool(gpus)
            for stage in stages:
                for reader in self._readers.get(stage.fingerprint, []):
                    self._missing[reader].discard(stage.fingerprint)
                    if not self._missing[reader]:
                        heappush(self._ready, reader)
            self._start_ready()
        return self._now

    def _start_ready(self) -> None:
        too_large = []
        waits = False  # a stage of several GPUs
        while self._ready:
            place = heappop(self._ready)
            stage = self._waiting[place]
            slots, gpus = slots_of(stage, self._machine), gpus_on_all_nodes(stage, len(self._machine.gpus))
            if gpus:
                fits = gpus <= self._gpus and self._on_gpus < self._machine.jobs_on_gpus and not waits
                waits = waits or (gpus > 1 and gpus > self._gpus)
            else:
                fits = slots <= self._slots or self._slots == self._machine.jobs
            if not fits:
                too_large.append(place)
            elif place not in self._started:
                together = [place, *self._companions(stage, place, [*self._ready, *too_large])]
                self._started.update(together)
                stages = [self._waiting[member] for member in together]
                seconds = sum(self._planned[member.fingerprint] or 0.0 for member in stages)
                self._run(stages, seconds, slots, gpus)
        for place in too_large:
            heappush(self._ready, place)

    def _companions(self, stage: Stage, place: int, ready: Sequence[int]) -> list[int]:
        if not stage.shares or ranks_of(stage, len(self._machine.gpus)) > 1:
            return []
        return [
            other
            for other in ready
            if other not in self._started and self._waiting[other].shares == stage.shares and other != place
        ]

    def _run(self, stages: list[Stage], seconds: float, slots: int, gpus: int) -> None:
        self._slots -= slots
        self._gpus -= gpus
        self._on_gpus += bool(gpus)
        heappush(self._ends, (self._now + seconds, next(self._number), stages, slots, gpus))


def rough(seconds: float) -> str:
    """`7 s`, `20 s`, `3 min`, `1 h 20 min`, `14 h`: a time that is no more than an estimate.

    Examples:
        >>> rough(7), rough(42), rough(4800), rough(50000)
        ('7 s', '40 s', '1 h 20 min', '14 h')
    """
    if seconds < 9.5:
        return f"{max(1, round(seconds))} s"
    if seconds < 55:
        return f"{10 * round(seconds / 10)} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    tens = 10 * round(minutes / 10)
    return f"{tens // 60} h {tens % 60:02d} min" if tens < 600 else f"{round(minutes / 60)} h"


def _family(stage: Stage) -> tuple[str, str]:
    return stage.kind, without_random_seed(stage.title)
