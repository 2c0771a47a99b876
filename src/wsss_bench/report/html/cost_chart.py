"""Cost against score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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
    middle = (low * high) ** 0.5 if logarithmic else high / 2
    traces = []
    for row in group.rows:
        if row.method not in found:
            continue
        place, value = positions[row.method], found[row.method]
        title = plain(row.method) + (f" ({row.hints.reference})" if row.hints.reference else "")
        traces.append(
            go.Scatter(
                x=[value],
                y=[row.miou_mean],
                error_y={"array": [row.miou_std], "color": colour(place)} if row.miou_std else None,
                mode="markers+text",
                text=[title],
                textposition="top left" if value > middle else "top right",
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
