"""The rows of the page's leaderboard: texts and numbers of each score, ready for the template."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wsss_bench.artifacts.layout import OWN
from wsss_bench.metrics.stats import interval
from wsss_bench.plan.plan import Plan
from wsss_bench.report.html.groups import PRODUCTS, scored_datasets
from wsss_bench.report.leaderboard import Leaderboard, Row
from wsss_bench.report.ranking import TRACKS, Standing, standings, track

RANKING = "scores that rank"
"""Value of the read-out filter that shows what ranks."""


@dataclass(frozen=True)
class Axis:
    """The scale of the pictures of random seeds, in percent."""

    low: int
    high: int

    def place(self, value: float) -> float:
        """Position in [0, 100]."""
        return round(100.0 * (value - self.low) / (self.high - self.low), 2)

    @property
    def lines(self) -> list[int]:
        """Where lines are drawn."""
        return list(range(self.low + 10, self.high, 10))


@dataclass(frozen=True)
class Line:
    """A line of the leaderboard; see `Row` for what is not said here.

    Args:
        row: The score.
        standing: Its rank, or why it has none.
        track: What the method is ranked with.
        what: Product and split.
        readout: Threshold rule of seeds, refiner of pseudo masks, scales and post-processing of segmentation.
        detail: What the read-out does not say: the threshold, settings of a refiner.
        measured: Its protocol id, and what a segmenter was trained on.
        false_positive, false_negative: Background rates in percent; None without background.
        interval: Bounds of the 95 % interval over images, percent; None where it is not known.
        hours: CPU or GPU hours of all stages that lead to the score.
        memory: Peak memory in GB.
    """

    row: Row
    standing: Standing
    track: str
    what: str
    readout: str
    detail: str
    measured: str
    false_positive: float | None
    false_negative: float | None
    interval: tuple[float, float] | None
    hours: float | None
    memory: float | None


def lines_of(plan: Plan, board: Leaderboard) -> list[Line]:
    """All scores by data set, product, split and track (references last), the higher ones first."""
    lines = [_line(row, standing) for row, standing in zip(board.rows, standings(plan, board), strict=True)]
    datasets, products = scored_datasets(plan), list(PRODUCTS)

    def place(line: Line) -> tuple[int, int, int, int, float]:
        protocol = plan.datasets[line.row.dataset].protocol
        splits = [protocol.train_split, *protocol.eval_splits]
        product, split = products.index(line.row.product), splits.index(line.row.split)
        group = len(TRACKS) if line.row.hints.reference else TRACKS.index(line.track)
        return datasets.index(line.row.dataset), product, split, group, -line.row.miou_mean

    return sorted(lines, key=place)


def axes_of(lines: list[Line]) -> dict[tuple[str, str], Axis]:
    """A scale from ten to ten that holds all runs, by data set and product."""
    values: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        values.setdefault((line.row.dataset, line.what), []).extend(run.miou for run in line.row.runs)
    axes = {}
    for key, found in values.items():
        low, high = 10 * math.floor(min(found) / 10), 10 * math.ceil(max(found) / 10)
        axes[key] = Axis(low, max(high, low + 10))
    return axes


def filters_of(lines: list[Line]) -> dict[str, list[str]]:
    """The values of each filter of the table, in their order; one for each data attribute of a line."""
    extras = sorted({" ".join(line.row.extra) for line in lines})
    readouts = dict.fromkeys(line.readout for line in lines)
    found = {
        "dataset": dict.fromkeys(line.row.dataset for line in lines),
        "product": dict.fromkeys(line.what for line in lines),
        "readout": [RANKING, *readouts],
        "track": [name for name in TRACKS if any(line.track == name for line in lines)],
        "extra": [extra or "none" for extra in extras],
    }
    return {name: list(values) for name, values in found.items()}


def first_product(lines: list[Line]) -> str:
    """The product that the table shows at first: one that is ranked."""
    return next((line.what for line in lines if line.standing.is_ranking), "")


def _line(row: Row, standing: Standing) -> Line:
    seconds = row.mean(lambda run: run.cost.seconds)
    megabytes = row.mean(lambda run: run.cost.peak_memory_mb)
    readout, detail = _readout(row)
    return Line(
        row=row,
        standing=standing,
        track=track(row.hints),
        what=f"{PRODUCTS[row.product]} of {row.split}",
        readout=readout,
        detail=detail,
        measured=row.protocol
        + (f", trained on {row.refiner} masks" if row.product == "segmentation" and row.refiner else ""),
        false_positive=row.mean(lambda run: run.false_positive_background),
        false_negative=row.mean(lambda run: run.false_negative_background),
        interval=None if row.resampled is None else interval(row.resampled),
        hours=None if seconds is None else seconds / 3600,
        memory=None if megabytes is None else megabytes / 1000,
    )


def _readout(row: Row) -> tuple[str, str]:
    if row.product == "seed":
        values = [run.threshold for run in row.runs if run.threshold is not None]
        bounds = dict.fromkeys((min(values), max(values))) if values else {}
        return row.rule, " to ".join(f"{value:g}" for value in bounds)
    if row.product == "pseudo_mask":
        return row.refiner or row.post, "" if row.post == row.refiner else row.post
    return (f"as published: {row.post}" if row.scales == OWN else f"{row.scales} {row.post}"), ""
