"""The table of costs, the cheapest method first."""

from __future__ import annotations

from wsss_bench.report.markdown.cells import NOTHING, number
from wsss_bench.report.markdown.cost import method_cost, millions
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.tables.table import Cell, Group, Head, Line, Table

UNITS: tuple[tuple[float, float, str, str], ...] = (
    (36_000.0, 3600.0, "hours", ".1f"),
    (1_000.0, 60.0, "minutes", ".1f"),
    (0.0, 1.0, "seconds", ".0f"),
)
"""From so many seconds in all on: seconds of the unit, its name, and the form of a number."""


def cost_table(results: DatasetResults, refiner: str | None) -> Table | None:
    """What each method takes; None if nothing is known.

    Args:
        results: The data set.
        refiner: The refiner whose cost is shown.
    """
    refiners = [refiner] if refiner else []
    costs = {method: method_cost(results, method, refiners) for method in results.hints}
    totals = [cost.total for cost in costs.values() if cost.total is not None]
    if not totals:
        return None
    _, seconds, unit, form = next(entry for entry in UNITS if max(totals) >= entry[0])
    steps = ["train", "seeds", *refiners, "segmenter", "predict", "CRF"]
    heads = [Head("method", "words"), Head("backbone", "words", drop=1), Head("params"), Head("total")]
    heads += [*(Head(step, drop=2) for step in steps), Head("memory GB", drop=1)]
    lines = []
    for method in sorted(costs, key=lambda name: costs[name].total or float("inf")):
        cost = costs[method]
        if cost.total is None:
            continue
        words = [results.title(method), results.hints[method].backbone, millions(cost.params)]
        spent = [number(value and value / seconds, form) for value in (cost.total, *cost.steps)]
        words += [*spent, number(cost.memory and cost.memory / 1000, ".1f")]
        lines.append(Line(tuple(Cell("" if word == NOTHING else word) for word in words)))
    question = f"Cost on {results.dataset}: what does a method take?"
    basis = f"{unit} of CPU, or of GPU where there is one, without scoring; mean over random seeds"
    table = Table(f"{results.dataset}-cost", question, basis, tuple(heads), (Group("", tuple(lines)),))
    return table.without_empty_columns()
