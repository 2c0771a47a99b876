"""Progress in bytes with the time that is left: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from wsss_bench.plan.plan import clock

PLAIN_SECONDS = 30.0


class Progress:
    """Shows how far some work is, on stderr, from `with` to its end.

    Args:
        what: What is done, in a few words.
        total: Bytes in all; None if unknown.
    """

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._start = time.monotonic()
        self._next = self._start + PLAIN_SECONDS
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self._bar = Bar(*columns, console=console) if console.is_terminal else None
        self._task = self._bar.add_task(what, total=total) if self._bar else None

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, size: int) -> None:
        """So many bytes more are done."""
        self._done += size
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._done)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            print(self._line(), file=sys.stderr, flush=True)

    def _line(self) -> str:
        done = f"{self._what}: {self._done / 10**6:.0f}"
        if not self._total or not self._done:
            return f"{done} MB"
        left = (time.monotonic() - self._start) * (self._total - self._done) / self._done
        return f"{done} of {self._total / 10**6:.0f} MB, {clock(max(0.0, left))} left"
