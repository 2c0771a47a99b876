"""What a bench shows while it runs: the live view on terminals of several widths, and plain lines."""

from __future__ import annotations

import io
import json
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from wsss_bench.bench import live
from wsss_bench.bench.live import LiveReporter
from wsss_bench.bench.progress import PlainReporter
from wsss_bench.bench.resources import Machine
from wsss_bench.bench.running import Active, Failure, Snapshot
from wsss_bench.bench.time_left import TimeLeft
from wsss_bench.plan.plan import Stage

NAMES = (
    "train mcis-mini-s0",
    "predict clims-mini-s0-irn-deeplabv2-val_ood",
    "refine cam-mini-s1-crf_one_minus_max",
)
SECONDS = {"train": 300.0, "seed": 60.0}


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


@pytest.fixture
def bench(tmp_path, clock):
    """Three stages that run, and 30 that wait, each 60 s long; two run at a time."""

    def stage(name):
        kind, _, title = name.partition(" ")
        path = tmp_path / f"{kind}-{title}-1234abcd"
        path.mkdir()
        return Stage(kind, title, {}, {}, name, path)

    active = [Active(stage(name), [], None, (), 1, None, started=1000.0) for name in NAMES]
    for one, done in zip(active[:2], (100, 40), strict=True):
        content = {"done": done, "total": 400, "unit": "steps", "wall_seconds": 60.0}
        (one.stage.path / "progress.json").write_text(json.dumps(content))
    clock.seconds += 61
    waiting = [stage(f"seed cam-mini-s{k}") for k in range(30)]
    return SimpleNamespace(
        snapshot=Snapshot(active, waiting, [], 40),
        left=TimeLeft(Machine(2), lambda one: SECONDS.get(one.kind)),
    )


class Terminal:
    """A terminal in a file: what rich writes to it, without its control codes."""

    def __init__(self, width, height=24):
        self.file = io.StringIO()
        self.console = Console(
            file=self.file, width=width, height=height, force_terminal=True, color_system=None
        )

    def new_lines(self):
        """The lines that were written since the last call."""
        text = self.file.getvalue()
        self.file.seek(0)
        self.file.truncate()
        for code in ("\x1b[2K", "\x1b[1A", "\x1b[?25l", "\x1b[?25h", "\r"):
            text = text.replace(code, "")
        return text.split("\n")


def view(terminal, reporter, snapshot, clock):
    clock.seconds += 1
    terminal.new_lines()
    reporter.tick(snapshot)
    return [line for line in terminal.new_lines() if line]


@pytest.mark.parametrize("width", [60, 80, 118])
def test_the_view_fits_its_terminal_and_loses_nothing(bench, clock, width):
    terminal = Terminal(width)
    with LiveReporter(terminal.console, bench.left) as reporter:
        lines = view(terminal, reporter, bench.snapshot, clock)
    assert max(map(len, lines)) < width
    *stages, matrix = lines
    assert [name for name, line in zip(NAMES, stages, strict=True) if line.startswith(name)] == list(NAMES)
    # 60 s for a quarter: 180 s for the rest; 60 s for a tenth: 540 s for the rest; no word from the third
    assert stages[0].rstrip().endswith(" 3 min left")
    assert stages[1].rstrip().endswith("9 min left")
    assert stages[2].rstrip().endswith("for 1 min")
    done = ["25 %", "10 %"] if width == 60 else ["100/400 steps", "40/400 steps"]
    assert all(text in line for text, line in zip(done, stages[:2], strict=True))
    assert matrix.startswith("bench ")
    assert "7/40 stages done" in matrix
    # one job is free after 180 s, the other after 540 s: 6 + 2 * 12 stages of 60 s; the third is unknown
    assert matrix.rstrip().endswith("more than 21 min left")


def test_bars_show_the_share_that_is_done(bench, clock):
    terminal = Terminal(118)
    with LiveReporter(terminal.console, bench.left) as reporter:
        lines = view(terminal, reporter, bench.snapshot, clock)
    full = [sum(line.count(sign) for sign in "━╸╺") for line in lines]
    assert full == [8, 3, 0, 5]  # of 30: a quarter, a tenth, unknown, 7 of 40


def test_a_failure_is_shown_at_once_above(bench, clock):
    terminal = Terminal(80)
    stage = bench.snapshot.active[2].stage
    failure = Failure(stage, "exit status 1", "Traceback\nValueError: bad [red]value[/]\n")
    skipped = [Failure(one, "skipped", started=False) for one in bench.snapshot.waiting[:2]]
    with LiveReporter(terminal.console, bench.left) as reporter:
        view(terminal, reporter, bench.snapshot, clock)
        reporter.finished(stage, 3.0, failure)
        above = [line.rstrip() for line in terminal.new_lines()]
        snapshot = Snapshot(bench.snapshot.active[:2], bench.snapshot.waiting[2:], [failure, *skipped], 40)
        below = view(terminal, reporter, snapshot, clock)
    start = above.index("FAILED  refine cam-mini-s1-crf_one_minus_max: exit status 1")
    assert above[start + 1] == "        ValueError: bad [red]value[/]"
    assert above[start + 2] == f"        log: {stage.path / 'log.txt'}"
    assert len(below) == 3
    assert "7/40 stages done, 1 failed, 2 skipped" in below[-1]


def test_a_resized_terminal_gets_a_view_of_its_new_width(bench, clock):
    terminal = Terminal(118)
    with LiveReporter(terminal.console, bench.left) as reporter:
        widths = []
        for width in (118, 60, 100):
            terminal.console.width = width
            lines = view(terminal, reporter, bench.snapshot, clock)
            assert len(lines) == 4
            widths.append(max(map(len, lines)))
    assert widths[1] < 60 < widths[2] < 100 < widths[0] + 20


def test_a_name_that_is_too_long_loses_its_middle_only(bench, clock):
    terminal = Terminal(40)
    with LiveReporter(terminal.console, bench.left) as reporter:
        lines = view(terminal, reporter, bench.snapshot, clock)
    assert max(map(len, lines)) < 40
    assert lines[1].startswith("predict cli")
    assert lines[1].rstrip().endswith("-val_ood 10 % 9 min left")
    assert "…" in lines[1]
    assert lines[3].rstrip() == "bench  7/40  more than 21 min left"


def test_a_low_terminal_shows_the_matrix_and_counts_the_stages_without_a_line(bench, clock):
    terminal = Terminal(80, height=5)
    with LiveReporter(terminal.console, bench.left) as reporter:
        lines = view(terminal, reporter, bench.snapshot, clock)
    assert [line.split()[0] for line in lines] == ["train", "and", "bench"]
    assert lines[1].strip() == "and 2 more"


def test_lines_where_there_is_no_terminal_carry_the_time_left(bench, clock, capsys):
    reporter = PlainReporter(bench.left)
    reporter.tick(bench.snapshot)
    assert capsys.readouterr().out == ""
    clock.seconds += 30
    reporter.tick(bench.snapshot)
    (line,) = capsys.readouterr().out.splitlines()
    assert "] 7/40 stages done, more than 21 min left; running: train mcis-mini-s0 100/400 steps, " in line
    assert "100/400 steps, 1 min 31 s, 3 min left; predict" in line
    assert line.endswith("refine cam-mini-s1-crf_one_minus_max 1 min 31 s")


def test_without_any_estimate_no_time_is_said(bench, clock):
    terminal = Terminal(80)
    snapshot = Snapshot(bench.snapshot.active[2:], [], [], 40)
    with LiveReporter(terminal.console, TimeLeft(Machine(2), lambda one: None)) as reporter:
        lines = view(terminal, reporter, snapshot, clock)
    assert "left" not in " ".join(lines)


def test_the_view_is_redrawn_twice_a_second(bench, clock):
    terminal = Terminal(80)
    with LiveReporter(terminal.console, bench.left) as reporter:
        view(terminal, reporter, bench.snapshot, clock)
        clock.seconds += live.REDRAW_SECONDS / 2
        reporter.tick(bench.snapshot)
        assert terminal.new_lines() == [""]
        reporter.started(bench.snapshot.waiting[0])  # a stage that starts is shown at once
        reporter.tick(bench.snapshot)
        assert len(terminal.new_lines()) > 1


def test_a_gpu_that_is_set_aside_is_named_with_what_to_do(bench, clock, capsys):
    terminal = Terminal(200)
    with LiveReporter(terminal.console, bench.left) as reporter:
        reporter.set_aside("3", 7)
        shown = " ".join(terminal.new_lines())
    PlainReporter(bench.left).set_aside("3", 7)
    for words in (shown, capsys.readouterr().out):
        assert "SET ASIDE" in words
        assert "GPU 3: two stages failed on it at once; it gets no more of them, 7 are left." in words
        assert "nvidia-smi -i 3 -q" in words
