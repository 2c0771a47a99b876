"""Shows the progress of a bench on a terminal: a line for each running stage, and one for the whole matrix.

They are redrawn in place, below lines for stages that ended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wsss_bench.artifacts.holder import Holder
from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.bench.progress import (
    counts,
    elsewhere_message,
    set_aside_message,
    stall_message,
    stopping_message,
)
from wsss_bench.bench.running import Active, Failure, Snapshot
from wsss_bench.bench.time_left import TimeLeft, rough
from wsss_bench.plan.plan import Stage, clock

REDRAW_SECONDS = 0.5
LAYOUTS = ((0, 30, 2), (0, 20, 2), (0, 12, 2), (0, 0, 2), (1, 12, 2), (1, 0, 1))
"""Which words say how much is done (0 long, 1 short), width of the bar, gap between columns. The first layout
with room for the names is drawn."""
LONGEST_BAR, SHORTEST_BAR = 30, 5
"""Of the whole matrix."""
OTHER_LINES = 3
"""Lines of the terminal that are not for running stages: the whole matrix, its distance, and the cursor."""


@dataclass(frozen=True)
class Line:
    """A line of the view.

    Args:
        name: What runs.
        share: How much of it is done, 0 to 1; None if unknown.
        done: The same in words, long and short: (`120/1000 images`, `12 %`).
        left: The time that it has left.
    """

    name: str
    share: float | None = None
    done: tuple[str, str] = ("", "")
    left: str = ""


class LiveReporter:
    """Shows the progress of a bench on a terminal, from `with` to its end.

    Args:
        console: The terminal.
        time_left: What the bench and its stages have left.
    """

    def __init__(self, console: Console, time_left: TimeLeft) -> None:
        self._console = console
        self._time_left = time_left
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
            self._time_left.learn(stage)
            self._say("done", "green", f"{stage.name} ({clock(seconds)})")
        elif failure.started:
            last = [line.strip() for line in failure.tail.strip().splitlines()[-1:]]
            lines = [f"{stage.name}: {failure.reason}", *last, f"log: {stage.path / LOG_FILE}"]
            self._say("FAILED", "bold red", "\n        ".join(lines))
        else:
            self._say("skipped", "yellow", f"{stage.name}: {failure.reason}")

    def elsewhere(self, stage: Stage, holder: Holder) -> None:
        self._say("WAITS", "yellow", elsewhere_message(stage, holder))

    def stalled(self, stage: Stage, seconds: float) -> None:
        self._say("STALLED", "yellow", stall_message(stage, seconds))

    def set_aside(self, gpu: str, left: int) -> None:
        self._say("SET ASIDE", "yellow", set_aside_message(gpu, left))

    def stopping(self, trainings: int) -> None:
        self._say("STOPPING", "yellow", stopping_message(trainings))

    def tick(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + REDRAW_SECONDS
        self._live.update(self._view(snapshot), refresh=True)

    def _say(self, verdict: str, style: str, text: str) -> None:
        """Print lines above the view; the terminal breaks those that are too long."""
        self._console.print(Text.assemble((f"{verdict:<8}", style), text), soft_wrap=True)

    def _view(self, snapshot: Snapshot) -> RenderableType:
        room = max(1, self._console.height - OTHER_LINES)
        count = len(snapshot.active) + len(snapshot.elsewhere)
        shown = snapshot.active[: room if count <= room else room - 1]
        lines = [self._line(active) for active in shown]
        for stage, holder in snapshot.elsewhere[: room - len(lines) - (count > room)]:
            lines.append(Line(stage.name, done=(f"in another {holder.kind}", "elsewhere")))
        if more := count - len(lines):
            lines.append(Line(f"and {more} more"))
        left = str(self._time_left.left(snapshot))
        return Group(table(lines, self._console.width), matrix_line(snapshot, left, self._console.width))

    def _line(self, active: Active) -> Line:
        progress = self._time_left.progress(active)
        if not active.begun:
            return Line(active.name, done=("in the queue", "queue"), left=f"for {rough(progress.elapsed)}")
        percent = "" if progress.share is None else f"{100 * progress.share:.0f} %"
        so_far = f"for {rough(progress.elapsed)}"
        left = so_far if progress.left is None else f"{rough(progress.left)} left"
        return Line(active.name, progress.share, (progress.counted, percent), left)


def table(lines: Sequence[Line], width: int) -> Table:
    """The lines of the running stages, no wider than the terminal.

    Bars become shorter and then fall away, then `12 %` stands for `120/1000 images`; at last the middle of
    long names is left out.
    """
    names = max((len(line.name) for line in lines), default=0)
    lefts = max((len(line.left) for line in lines), default=0)
    for form, bar, gap in LAYOUTS:
        dones = max((len(line.done[form]) for line in lines), default=0)
        room = width - 1 - lefts - dones - (bar + gap if bar else 0) - 2 * gap
        if names <= room:
            break
    grid = Table.grid(padding=(0, gap, 0, 0))
    for line in lines:
        cells: list[RenderableType] = [Text(_shortened(line.name, room))]
        if bar:
            cells.append("" if line.share is None else _bar(1.0, line.share, bar))
        done, left = (Text(text, justify="right", no_wrap=True) for text in (line.done[form], line.left))
        grid.add_row(*cells, done, left)
    return grid


def matrix_line(snapshot: Snapshot, left: str, width: int) -> Table:
    """The line of the whole matrix."""
    done, *failed = counts(snapshot)
    room = width - 1 - len("bench") - len(left) - len("".join(failed)) - 2 * len(failed) - 6
    if len(done) > room:
        done = f"{snapshot.done}/{snapshot.total}"
    said = Text(", ").join([Text(done), *(Text(text, "bold red") for text in failed)])
    cells: list[RenderableType] = [Text("bench", "bold"), said, Text(left, "bold")]
    if (bar := min(LONGEST_BAR, room - len(done))) >= SHORTEST_BAR:
        cells.insert(1, _bar(snapshot.total, snapshot.done, bar))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in cells:
        grid.add_column(no_wrap=True)
    grid.add_row(*cells)
    return grid


def _bar(total: float, done: float, width: int) -> ProgressBar:
    return ProgressBar(total, done, width, complete_style="green", finished_style="green")


def _shortened(name: str, room: int) -> str:
    if len(name) <= room:
        return name
    half = max(1, (room - 1) // 2)
    return f"{name[: room - 1 - half]}…{name[-half:]}"
