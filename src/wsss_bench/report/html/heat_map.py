"""IoU of every method and class, for the heat map of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsss_bench.metrics.stats import summarize
from wsss_bench.report.html.groups import Group
from wsss_bench.report.leaderboard import Row


def heat_maps(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """`title`, `classes`, `methods` and `values` (percent, mean over runs) of each group, in JSON types.

    Classes that occur in no row are left out.
    """
    return [_heat_map(group) for group in groups]


def _heat_map(group: Group) -> dict[str, Any]:
    rows = [_means(row) for row in group.rows]
    names = dict.fromkeys(name for row in rows for name in row)
    shown = [name for name in names if any(row.get(name) is not None for row in rows)]
    return {
        "title": group.title,
        "classes": shown,
        "methods": [row.method for row in group.rows],
        "values": [[row.get(name) for name in shown] for row in rows],
    }


def _means(row: Row) -> dict[str, float | None]:
    """IoU of each class, mean over runs; None where a run has none."""
    found: dict[str, float | None] = {}
    for name in row.runs[0].iou:
        values = [run.iou.get(name) for run in row.runs]
        present = [value for value in values if value is not None]
        found[name] = round(summarize(present).mean, 1) if len(present) == len(values) else None
    return found
