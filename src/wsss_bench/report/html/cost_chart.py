"""Cost against score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from wsss_bench.report.html.figures import Choice, choice, colour, leaf, plain, symbol, titled
from wsss_bench.report.html.groups import Group
from wsss_bench.report.leaderboard import RunScore

COSTS: Mapping[str, tuple[Callable[[RunScore], float | None], float]] = {
    "hours": (lambda run: run.cost.seconds, 3600),
    "trainable parameters": (lambda run: run.cost.params, 1),
    "peak memory, GB": (lambda run: run.cost.peak_memory_mb, 1000),
}
"""What is read of a run, and how much of it is one unit of the axis."""
LOGARITHMIC = 20
"""An axis is logarithmic where its largest value is so many times its smallest one."""
NEAR = (0.15, 0.1)
"""Shares of the ranges of cost and score within which the names of two points would overlap."""


def cost_chart(groups: Sequence[Group], positions: Mapping[str, int], hours: str) -> list[Choice]:
    """Score against cost, by group and kind of cost.

    Args:
        groups: The scores.
        positions: Positions of the methods in the plan.
        hours: What is counted: `CPU hours`, or `GPU or CPU hours`.
    """
    return [
        choice(group.title, [_figure(group, positions, name, hours) for name in COSTS]) for group in groups
    ]


def _figure(group: Group, positions: Mapping[str, int], name: str, hours: str) -> Choice:
    cost, unit = COSTS[name]
    name = hours if name == "hours" else name
    found = {row.method: units / unit for row in group.rows if (units := row.mean(cost))}
    low, high = min(found.values(), default=0), max(found.values(), default=0)
    logarithmic = high > LOGARITHMIC * low
    shown = [row for row in group.rows if row.method in found]
    spots = _spots([(found[row.method], row.miou_mean) for row in shown], logarithmic)
    traces = []
    for row, spot in zip(shown, spots, strict=True):
        place, value = positions[row.method], found[row.method]
        title = plain(row.method) + (f" ({row.hints.reference})" if row.hints.reference else "")
        traces.append(
            go.Scatter(
                x=[value],
                y=[row.miou_mean],
                error_y={"array": [row.miou_std], "color": colour(place)} if row.miou_std else None,
                mode="markers+text",
                text=[title],
                textposition=spot,
                hovertemplate=f"{title}<br>{plain(name)}: %{{x:.4~g}}<br>mIoU: %{{y:.1f}}<extra></extra>",
                marker={
                    "color": colour(place),
                    "size": 11,
                    "symbol": symbol(place) + ("-open" if row.hints.reference else ""),
                },
                cliponaxis=False,
                showlegend=False,
            )
        )
    scale = {"type": "log", "dtick": 1} if logarithmic else {"rangemode": "tozero"}
    layout = {"xaxis": titled(name, **scale), "yaxis": titled("mIoU, %")}
    left_out = [row.method for row in group.rows if row.method not in found]
    note = f"Without a value, and not shown: {', '.join(left_out)}." if left_out else ""
    return leaf(name, traces, layout, note)


def _spots(points: Sequence[tuple[float, float]], logarithmic: bool) -> list[str]:
    """Where the name of each point stands: towards the middle, and below if another point is close above."""
    if not points:
        return []
    x, y = np.array(points).T
    x = np.log(x) if logarithmic else x
    left, width, height = (x.min() if logarithmic else 0.0), np.ptp(x) or 1.0, np.ptp(y) or 1.0
    found = []
    for place in range(len(points)):
        near = np.abs(x - x[place]) < NEAR[0] * width
        above = (y > y[place]) & (y - y[place] < NEAR[1] * height)
        side = "left" if x[place] - left > (x.max() - left) / 2 else "right"
        found.append(f"{'bottom' if (near & above).any() else 'top'} {side}")
    return found
