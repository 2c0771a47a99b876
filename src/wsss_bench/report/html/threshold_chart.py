"""mIoU of seeds against the background threshold, with the three thresholds that are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import plotly.graph_objects as go

from wsss_bench.report.html.figures import Choice, choice, colour, leaf, plain, titled
from wsss_bench.report.html.groups import Group
from wsss_bench.report.leaderboard import Row, RunScore

SYMBOLS = {"fixed": "circle", "heldout": "triangle-up-open", "oracle": "star-open"}
NOTE = (
    "Circle: the fixed threshold, which ranks; triangle: chosen on the held-out images; star: the best on "
    "the scored images (oracle). The curve is over all images."
)


def threshold_chart(groups: Sequence[Group], positions: Mapping[str, int]) -> list[Choice]:
    """The curves by group: of all methods, and of each method with its random seeds."""
    options = []
    for group in groups:
        rows = [row for row in group.rows if all(run.curve for run in row.runs)]
        if not rows:
            continue
        layout = {"xaxis": titled("background threshold", range=[0, 1]), "yaxis": titled("mIoU, %")}
        means = chain.from_iterable(
            _traces(row.method, group, row, row.runs, positions[row.method]) for row in rows
        )
        curves = [leaf("all methods, mean over random seeds", list(means), layout, NOTE)]
        for row in rows:
            runs = chain.from_iterable(
                _traces(f"random seed {run.random_seed}", group, row, [run], place)
                for place, run in enumerate(row.runs)
            )
            curves.append(leaf(row.method, list(runs), layout, NOTE))
        options.append(choice(group.title, curves))
    return options


def _traces(name: str, group: Group, row: Row, runs: Sequence[RunScore], place: int) -> list[Any]:
    """The mean curve of some runs of a method, and the thresholds of each of them."""
    curves = [run.curve for run in runs if run.curve]
    x, y = curves[0]["threshold"], 100 * np.mean([curve["miou"] for curve in curves], axis=0)
    title = plain(name)
    shared = {"name": title, "legendgroup": title}
    traces = [
        go.Scatter(
            x=x,
            y=np.round(y, 2).tolist(),
            mode="lines",
            line={"color": colour(place), "width": 2},
            hovertemplate=f"{title}<br>threshold %{{x:.2f}}: %{{y:.1f}}<extra></extra>",
            **shared,
        )
    ]
    seeds = {run.random_seed for run in runs}
    for scored in group.with_all_rules(row):
        chosen = sorted(
            {run.threshold for run in scored.runs if run.random_seed in seeds and run.threshold is not None}
        )
        traces.append(
            go.Scatter(
                x=chosen,
                y=np.interp(chosen, x, y).round(2).tolist(),
                mode="markers",
                showlegend=False,
                marker={"color": colour(place), "size": 10, "symbol": SYMBOLS[scored.rule]},
                hovertemplate=f"{title}, {scored.rule} threshold %{{x:.2f}}: %{{y:.1f}}<extra></extra>",
                **shared,
            )
        )
    return traces
