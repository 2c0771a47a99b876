"""The table of gains: each row against the method that it varies, or that it starts from."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.markdown.scores import Column
from wsss_bench.report.tables.scores import in_words
from wsss_bench.report.tables.table import Cell, Group, Head, Line, Table
from wsss_bench.report.tables.tracks import behind


def gain_table(results: DatasetResults, columns: Sequence[Column]) -> Table | None:
    """What each row gains; None where no row varies another one or starts from it.

    Args:
        results: The data set.
        columns: The scores that are compared.
    """
    lines = []
    for method, reference in _pairs(results):
        cells = [Cell(_gain(results, method, reference, column)) for column in columns]
        if any(cell.text for cell in cells):
            lines.append(Line((Cell(results.title(method)), Cell(results.title(reference)), *cells)))
    if not lines:
        return None
    heads = [Head("row", "words"), Head("against", "words"), *(Head(column.heading) for column in columns)]
    question = f"Gains on {results.dataset}: what does a row add to the one that it varies or starts from?"
    basis = "difference in mIoU, in points"
    table = Table(f"{results.dataset}-gains", question, basis, tuple(heads), (Group("", tuple(lines)),))
    return table.without_empty_columns()


def _pairs(results: DatasetResults) -> list[tuple[str, str]]:
    """Rows with the row that they vary or start from."""
    base = {row.method: row.base for row in results.rows}
    pairs = []
    for method, hints in results.hints.items():
        if method in base and base[method] != method and base[method] in results.hints:
            pairs.append((method, base[method]))
        elif hints.warm_start in results.hints:
            pairs.append((method, hints.warm_start))
    return pairs


def _gain(results: DatasetResults, method: str, reference: str, column: Column) -> str:
    row, other = (
        results.find(one, column.product, column.split, **column.values) for one in (method, reference)
    )
    return in_words(behind(row, other, True)) if row and other else ""
