"""Shows the progress of a bench: a live view on a terminal, plain lines everywhere else."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from wsss_bench.artifacts.layout import LOG_FILE, PROGRESS
from wsss_bench.bench.running import Active, Failure
from wsss_bench.plan.plan import Stage, clock

PLAIN_SECONDS = 30.0
LIVE_SECONDS = 0.5


class PlainReporter:
    """Prints a line when a stage starts or ends, and the running stages every half minute."""

    def __init__(self, file: Any = None) -> None:
        self._file = file or sys.stdout
        self._next = time.monotonic() + PLAIN_SECONDS

    def started(self, stage: Stage) -> None:
        self._say(f"start   {stage.name}")

    def finished(self, stage: Stage, seconds: float, failure: Failure | None) -> None:
        if failure is None:
            self._say(f"done    {stage.name} ({clock(seconds)})")
        else:
            self._say(f"{'FAILED ' if failure.started else 'skipped'} {stage.name}: {failure.reason}")

    def stalled(self, stage: Stage, seconds: float) -> None:
        self._say(f"STALLED {stall_message(stage, seconds)}")

    def tick(self, active: list[Active], done: int, failed: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PLAIN_SECONDS
        running = "; ".join(f"{one.name} {how_far(one)}" for one in active)
        self._say(f"{done}/{total} stages done, {failed} failed; running: {running or 'nothing'}")

    def _say(self, line: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {line}", file=self._file, flush=True)


class LiveReporter:
    """Shows a table of the running stages, redrawn in place, below lines for stages that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._next = 0.0

    def __enter__(self) -> LiveReporter:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # the terminal may be gone
            self._live.stop()

    def started(self, stage: Stage) -> None:
        self._next = 0.0

    def finished(self, stage: Stage, seconds: float, failure: Failure | None) -> None:
        if failure is None:
            self._console.print(f"[green]done[/]    {stage.name} ({clock(seconds)})", highlight=False)
        else:
            verdict = "[red]FAILED[/] " if failure.started else "[yellow]skipped[/]"
            self._console.print(f"{verdict} {stage.name}: {failure.reason}", highlight=False)

    def stalled(self, stage: Stage, seconds: float) -> None:
        self._console.print(f"[yellow]STALLED[/] {stall_message(stage, seconds)}", highlight=False)

    def tick(self, active: list[Active], done: int, failed: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LIVE_SECONDS
        table = Table(box=None, pad_edge=False, show_header=False)
        for one in active:
            more = f" (and {len(one.companions)} more together)" if one.companions else ""
            table.add_row(one.stage.kind, one.stage.title + more, how_far(one))
        running = sum(len(one.stages) for one in active)
        waiting = total - done - failed - running
        table.add_row(
            "[bold]bench[/]",
            f"{done}/{total} done",
            f"{failed} failed, {running} running, {waiting} waiting",
        )
        self._live.update(table, refresh=True)


def stall_message(stage: Stage, seconds: float) -> str:
    """What is known about a stage that makes no progress, and where to look."""
    log = stage.path / LOG_FILE
    return f"{stage.name}: no progress for {clock(seconds)}; it is not stopped, its log is {log}"


def how_far(active: Active) -> str:
    """`120/1000 images, 12 s, 1 min 28 s left`; only the elapsed time before there is a `progress.json`."""
    elapsed = time.monotonic() - active.started
    progress = _read(active.stage.path / PROGRESS)
    text = clock(elapsed)
    done, total = progress.get("done"), progress.get("total")
    if not isinstance(done, (int, float)) or not isinstance(total, (int, float)):
        return text
    text = f"{done}/{total} {progress.get('unit', '')}, {text}"
    spent = progress.get("wall_seconds") or elapsed
    return f"{text}, {clock(spent * (total - done) / done)} left" if 0 < done < total else text


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
