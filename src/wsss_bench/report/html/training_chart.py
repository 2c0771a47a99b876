"""The curves of trainings, read from the `curves.csv` of their stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from wsss_bench.artifacts.curves import EPOCH, STEP, read_rows
from wsss_bench.artifacts.layout import CURVES
from wsss_bench.plan.plan import Plan, without_random_seed
from wsss_bench.report.html.figures import Choice, choice, colour, leaf, plain, titled

TRAININGS = ("train", "segment", "affinity")
MOST_POINTS = 200
"""Points of a curve on the page; longer ones are thinned out evenly."""
MARKED_POINTS = 40
"""Points of a curve from which on they are not marked one by one."""


@dataclass(frozen=True)
class Training:
    """The curves of one training.

    Args:
        label: Kind and title of the stage, the same for all random seeds.
        random_seed: Random seed.
        curves: Steps and values by name of the value.
    """

    label: str
    random_seed: int
    curves: Mapping[str, tuple[list[int], list[float]]]


def read_trainings(plan: Plan) -> list[Training]:
    """The curves of all trainings of a plan that have some, in its order."""
    found = []
    for stage in plan.stages.values():
        if stage.kind in TRAININGS:
            try:
                curves = _curves(read_rows(stage.path / CURVES))
            except ValueError:  # they are no result, and cost nothing but themselves
                continue
            if curves:
                label = f"{stage.kind} {without_random_seed(stage.title)}"
                found.append(Training(label, int(stage.config.get("seed_everything") or 0), curves))
    return found


def training_chart(trainings: Sequence[Training]) -> list[Choice]:
    """The curves by training and value, a line for each random seed."""
    options = []
    for label in dict.fromkeys(training.label for training in trainings):
        members = [training for training in trainings if training.label == label]
        names = dict.fromkeys(name for training in members for name in training.curves)
        options.append(choice(label, [_figure(name, members) for name in names]))
    return options


def _figure(name: str, members: Sequence[Training]) -> Choice:
    traces = []
    for place, training in enumerate(members):
        steps, values = training.curves.get(name, ([], []))
        seed = f"random seed {training.random_seed}"
        traces.append(
            go.Scatter(
                x=steps,
                y=values,
                mode="lines+markers" if len(steps) < MARKED_POINTS else "lines",
                name=seed,
                line={"color": colour(place), "width": 2},
                marker={"size": 5},
                hovertemplate=f"step %{{x}}<br>{plain(name)}: %{{y:.4~g}}<extra>{seed}</extra>",
            )
        )
    layout = {
        "xaxis": titled(STEP, rangemode="tozero"),
        "yaxis": titled(name),
        "showlegend": len(traces) > 1,
        "height": 360,
    }
    return leaf(name, traces, layout)


def _curves(rows: Sequence[tuple[int, Mapping[str, str]]]) -> dict[str, tuple[list[int], list[float]]]:
    """Values by name, losses first; texts and what is not finite are left out."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for step, row in rows:
        for name, text in row.items():
            value = _number(text)
            if name not in (STEP, EPOCH) and np.isfinite(value):
                steps, values = found.setdefault(name, ([], []))
                steps.append(step)
                values.append(value)
    return {name: (_thinned(found[name][0]), _thinned(found[name][1])) for name in sorted(found, key=_place)}


def _place(name: str) -> tuple[bool, bool, bool, str]:
    return name.startswith("lr/"), not name.endswith("loss"), not name.startswith("train/"), name


def _number(text: str) -> float:
    try:
        return float(f"{float(text):.5g}")
    except ValueError:
        return np.nan


def _thinned(values: list) -> list:
    if len(values) <= MOST_POINTS:
        return values
    kept = np.linspace(0, len(values) - 1, MOST_POINTS).round().astype(int)
    return [values[position] for position in kept]
