"""Single values of the results, by name, as running text shows them.

`cam.val` is a score, `cam.val.std` its deviation, `cam.val.fp` and `.fn` the errors of the background;
`clims-cam.val` is a difference, `clims-cam.val.boat` that of a class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from figures.results import METHODS, Results
from figures.tables import COLUMNS_OF_SCORES, row_of
from wsss_bench.report.leaderboard import Row

PAIRS = [*permutations(METHODS, 2)]


def values_of(found: Sequence[Results]) -> dict[str, str]:
    """All values of the methods' scores and of the differences between them."""
    values: dict[str, str] = {}
    for heading, wanted in COLUMNS_OF_SCORES.items():
        column = heading.replace(" ", "")
        rows = {name: row for name in METHODS if (row := row_of(found, name, wanted)) is not None}
        for name, row in rows.items():
            values |= {f"{name}.{column.replace(' ', '')}{ending}": text for ending, text in _score(row)}
        for first, second in PAIRS:
            if first in rows and second in rows:
                pair = f"{first}-{second}.{column.replace(' ', '')}"
                values |= {f"{pair}{ending}": text for ending, text in _difference(rows[first], rows[second])}
    return values


def _score(row: Row) -> Iterator[tuple[str, str]]:
    yield "", f"{row.miou_mean:.1f}"
    if row.miou_std is not None:
        yield ".std", f"{row.miou_std:.1f}"
    rates = {
        ".fp": row.mean(lambda run: run.false_positive_background),
        ".fn": row.mean(lambda run: run.false_negative_background),
    }
    yield from ((ending, f"{rate:.1f}") for ending, rate in rates.items() if rate is not None)


def _difference(first: Row, second: Row) -> Iterator[tuple[str, str]]:
    yield "", f"{first.miou_mean - second.miou_mean:+.1f}"
    ours, theirs = _by_class(first), _by_class(second)
    yield from ((f".{name}", f"{ours[name] - theirs[name]:+.0f}") for name in ours.keys() & theirs.keys())


def _by_class(row: Row) -> dict[str, float]:
    """Mean IoU of each class over the runs, in percent."""
    found: dict[str, float] = {}
    for name in row.runs[0].iou:
        values = [value for run in row.runs if (value := run.iou[name]) is not None]
        if values:
            found[name] = sum(values) / len(values)
    return found
