"""Progress of long work on data, with the time that is left: a bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from wsss_bench.plan.plan import clock

FIRST_SECONDS, MOST_SECONDS = 5.0, 60.0
"""Seconds to the first line; each further line takes twice as long as the one before, at most a minute."""


class Progress:
    """Shows how far some work is, on stderr, from its first `advance` to the end of `with`.

    Args:
        what: What is done, in a few words.
        total: Bytes or images in all; None if unknown.
        unit: What is counted.
    """

    def __init__(self, what: str, total: int | None, unit: Literal["bytes", "images"] = "bytes") -> None:
        self._what, self._total, self._unit, self._done = what, total, unit, 0
        self._start = time.monotonic()
        self._wait = FIRST_SECONDS
        self._next = self._start + self._wait
        columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn()]
        if unit == "bytes":
            columns += [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
        else:
            columns += [MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn(), TextColumn("left")]
        console = Console(stderr=True)
        self._bar = Bar(*columns, console=console) if console.is_terminal else None
        self._task = self._bar.add_task(what, total=total) if self._bar else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, size: int) -> None:
        """So many bytes or images more are done."""
        self._show(self._done + size)

    def reach(self, done: int, total: int) -> None:
        """`done` of `total` bytes or images are done."""
        self._total = total
        self._show(done)

    def _show(self, done: int) -> None:
        self._done = done
        if self._bar and self._task is not None:
            self._bar.start()  # does nothing if it shows already
            self._bar.update(self._task, completed=done, total=self._total)
        elif time.monotonic() >= self._next:
            self._wait = min(2 * self._wait, MOST_SECONDS)
            self._next = time.monotonic() + self._wait
            print(self._line(), file=sys.stderr, flush=True)

    def _line(self) -> str:
        done, total = self._in_words(self._done), self._in_words(self._total or 0)
        unit = "MB" if self._unit == "bytes" else self._unit
        if not self._total or not self._done:
            return f"{self._what}: {done} {unit}"
        left = (time.monotonic() - self._start) * (self._total - self._done) / self._done
        return f"{self._what}: {done} of {total} {unit}, {clock(max(0.0, left))} left"

    def _in_words(self, number: int) -> str:
        return f"{number / 10**6:.0f}" if self._unit == "bytes" else str(number)
