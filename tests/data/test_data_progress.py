"""Progress of long work on data: lines with the time that is left, and a bar on a terminal."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from wsss_bench.cli import main
from wsss_bench.data import progress as module
from wsss_bench.data.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


def test_lines_come_at_growing_intervals_with_the_time_left(clock, capsys):
    seconds = []
    with Progress("drawing", None, "images") as progress:
        for done in range(1, 201):
            clock.seconds += 1
            progress.reach(done, 200)
            if capsys.readouterr().err:
                seconds.append(done)
    assert seconds == [5, 15, 35, 75, 135, 195]


def test_what_a_line_says(clock, capsys):
    with Progress("drawing", None, "images") as images, Progress("unpacking", 600 * 10**6) as archive:
        clock.seconds += 20
        images.reach(100, 500)
        archive.advance(200 * 10**6)
        assert capsys.readouterr().err.splitlines() == [
            "drawing: 100 of 500 images, 1 min 20 s left",
            "unpacking: 200 of 600 MB, 40 s left",
        ]
    with Progress("downloading", None) as unknown:
        clock.seconds += 20
        unknown.advance(3 * 10**6)
        assert capsys.readouterr().err == "downloading: 3 MB\n"


def test_a_terminal_shows_a_bar_only_where_something_is_done(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(
        module, "Console", lambda stderr: Console(file=file, force_terminal=True, width=80, color_system=None)
    )
    with Progress("drawing", None, "images"):
        pass
    assert "drawing" not in file.getvalue()
    with Progress("drawing", None, "images") as progress:
        progress.reach(300, 300)
    last = [line for line in file.getvalue().splitlines() if "drawing" in line][-1]
    assert "300/300 images" in last
    assert "0:00:00 left" in last


@pytest.mark.slow
def test_the_mini_world_counts_every_image_once(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(Progress, "reach", lambda self, done, total: seen.append((done, total)))
    command = ["data", "mini", "--root", str(tmp_path / "mini"), "--size", "small", "--processes", "1"]
    assert main(command) == 0
    # 40 train, 16 val, 16 val_ood, 4 test, 2 without objects; 16 single, 16 web; saliency of 40, 16 and 16
    assert seen == [(done, 182) for done in range(1, 183)]
    assert main(command) == 0
    assert len(seen) == 182
    assert capsys.readouterr().out.count("mini world (small, random seed 0) in") == 2
