"""The table of published results that were measured in a way in which we measure too."""

from __future__ import annotations

from wsss_bench.report.markdown.cells import number
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.markdown.published import readout_in_words
from wsss_bench.report.tables.table import Cell, Group, Head, Line, Table

WORDS = {"seed": "seeds", "pseudo_mask": "pseudo masks", "segmentation": "segmentation"}


def published_table(results: DatasetResults) -> Table | None:
    """Our scores beside those of the papers; None where no score can be compared."""
    heads = (
        *(Head(text, "words") for text in ("method", "of", "read-out")),
        *(Head(text) for text in ("ours", "paper", "gap")),
        Head("source", "words", drop=1),
    )
    lines = []
    for row in results.rows:
        if row.published is not None:
            of = f"{WORDS[row.product]}, {row.split}"
            figures = [f"{row.miou_mean:.1f}", f"{row.published.miou:.1f}", number(row.gap, "+.1f")]
            words = [results.title(row.method), of, readout_in_words(row), *figures, row.published.source]
            lines.append(Line(tuple(map(Cell, words))))
    if not lines:
        return None
    question = f"Published results on {results.dataset}: how close are ours to the papers'?"
    basis = "mIoU in %, only what was measured in the same way"
    return Table(f"{results.dataset}-published", question, basis, heads, (Group("", tuple(lines)),))
