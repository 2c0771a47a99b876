"""What kinds of pixels are wrong: over- and under-activation by class, objects by size, boundaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from wsss_bench.metrics.functional import mean_over_present
from wsss_bench.metrics.object_size import BOUNDS, iou_by_size
from wsss_bench.metrics.stats import summarize
from wsss_bench.report.html.figures import BAR, LEGEND, Choice, choice, colour, leaf, plain, symbol, titled
from wsss_bench.report.html.groups import Group
from wsss_bench.report.leaderboard import Row, RunScore

PARTS = {"IoU": "#3ca951", "over-activation": "#e8590c", "under-activation": "#2f6fde"}
"""The shares of the union of truth and prediction: both, only predicted, only true."""
SIZES = " %, ".join(f"{100 * upper:g}" for upper in BOUNDS.values()) + " %"
"""The largest share of an image that an object of each size covers, in words."""


def activation_chart(groups: Sequence[Group]) -> list[Choice]:
    """Over- and under-activation by group: of all methods in the mean, and of each method by class."""
    options = []
    for group in groups:
        parts = {row.method: shares_of_union(row) for row in group.rows}
        found = {method: shares for method, shares in parts.items() if shares}
        if not found:
            continue
        means = {
            method: mean_over_present(np.array(list(shares.values())).T) for method, shares in found.items()
        }
        figures = [_bars("all methods, mean over classes", means)]
        figures += [_bars(method, shares) for method, shares in found.items()]
        options.append(choice(group.title, figures))
    return options


def shares_of_union(row: Row) -> dict[str, np.ndarray]:
    """IoU, over- and under-activation `(3,)` of each class that occurs; their sum is 1.

    The confusion matrices of all images and runs are added up. Empty where they are gone.
    """
    runs = [run.confusions for run in row.runs]
    if any(run is None for run in runs):
        return {}
    sums = sum(run.class_sums().sum(axis=0) for run in runs if run is not None)
    hits, truth, predicted = np.split(np.asarray(sums), 3)
    union = truth + predicted - hits
    parts = np.stack([hits, predicted - hits, truth - hits], axis=1)
    return {
        name: part / whole
        for name, part, whole in zip(row.runs[0].iou, parts, union, strict=True)
        if whole > 0
    }


def _bars(label: str, shares: Mapping[str, np.ndarray]) -> Choice:
    names = [plain(name) for name in shares]
    traces = [
        go.Bar(
            x=[round(100 * float(values[place]), 2) for values in shares.values()],
            y=names,
            orientation="h",
            name=part,
            marker={"color": shade},
            hovertemplate=f"%{{y}}<br>{part}: %{{x:.1f}} %<extra></extra>",
        )
        for place, (part, shade) in enumerate(PARTS.items())
    ]
    layout = {
        "barmode": "stack",
        "bargap": 0.25,
        "legend": {**LEGEND, "traceorder": "normal"},
        "height": 130 + BAR * len(names),
        "xaxis": titled("share of the union, %", range=[0, 100]),
        "yaxis": {"automargin": True, "autorange": "reversed", "type": "category", "dtick": 1},
    }
    return leaf(label, traces, layout)


def size_chart(groups: Sequence[Group], positions: Mapping[str, int]) -> list[Choice]:
    """mIoU of all pixels, of objects of each size and near boundaries, by group."""
    names = ["all", *BOUNDS, "boundary"]
    options = []
    for group in groups:
        traces = []
        for row in group.rows:
            scores, place = _scores(row), positions[row.method]
            if all(value is None for value in scores[1:]):
                continue
            traces.append(
                go.Scatter(
                    x=names,
                    y=[None if value is None else round(value, 2) for value in scores],
                    mode="markers",
                    name=plain(row.method),
                    marker={"color": colour(place), "symbol": symbol(place), "size": 11},
                    hovertemplate=f"{plain(row.method)}<br>%{{x}}: %{{y:.1f}}<extra></extra>",
                )
            )
        layout = {
            "scattermode": "group",
            "scattergap": 0.3,
            "xaxis": {"type": "category", "automargin": True},
            "yaxis": titled("mIoU, %", rangemode="tozero"),
        }
        if traces:
            options.append(leaf(group.title, traces, layout, _without_boundary(group)))
    return options


def _scores(row: Row) -> list[float | None]:
    """mIoU in percent, mean over runs, in the order of the figure."""
    sizes = [_by_size(run) for run in row.runs]
    boundary = [_mean(list(run.boundary_iou.values())) if run.boundary_iou else None for run in row.runs]
    return [row.miou_mean, *(_of_all([run[name] for run in sizes]) for name in BOUNDS), _of_all(boundary)]


def _by_size(run: RunScore) -> dict[str, float | None]:
    found = dict.fromkeys(BOUNDS) if run.confusions is None else iou_by_size(run.confusions)
    return {name: None if value is None else 100 * value for name, value in found.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are there."""
    present = [value for value in values if value is not None]
    return summarize(present).mean if present else None


def _of_all(values: Sequence[float | None]) -> float | None:
    """Mean over runs; None if one lacks the value."""
    return None if None in values else _mean(values)


def _without_boundary(group: Group) -> str:
    old = [row.method for row in group.rows if any(run.boundary_iou is None for run in row.runs)]
    return (
        f"Scored by an earlier version, without boundaries: {', '.join(old)}; "
        "wsss-bench bench ... --again changed measures them."
        if old
        else ""
    )
