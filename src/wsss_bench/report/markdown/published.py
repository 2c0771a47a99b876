"""The table of published results, each beside our score that was measured in the same way."""

from __future__ import annotations

from wsss_bench.plan.config import PublishedResult
from wsss_bench.report.leaderboard import Row
from wsss_bench.report.markdown.cells import NOTHING, aligned, number, score
from wsss_bench.report.markdown.dataset import DatasetResults


def published_section(results: DatasetResults) -> list[str]:
    """Heading and table; empty where no method has published results on the data set."""
    lines = published_lines(results)
    return [f"### Published results on {results.dataset}", aligned(lines)] if len(lines) > 1 else []


def published_lines(results: DatasetResults) -> list[list[str]]:
    """The head of the table, and a line for each published result.

    Results without a score of ours that was measured in the same way come last, without a gap.
    """
    lines = [["method", "product", "split", "read-out", "ours", "paper", "gap", "source"]]
    left = {(method, result) for method, listed in results.published.items() for result in listed}
    for row in results.rows:
        if row.published is not None:
            left.discard((row.method, row.published))
            lines.append(
                [
                    results.title(row.method),
                    row.product,
                    row.split,
                    readout_in_words(row),
                    score(row),
                    number(row.published.miou, ".1f"),
                    number(row.gap, "+.1f"),
                    row.published.source,
                ]
            )
    for method, listed in results.published.items():
        for result in listed:
            if (method, result) in left:
                place = [results.title(method), result.product, result.split, _measured(result)]
                lines.append([*place, NOTHING, number(result.miou, ".1f"), NOTHING, result.source])
    return lines


def readout_in_words(row: Row) -> str:
    """How a score of ours was read out: `ms crf`, `ms raw, fixed`."""
    return f"{row.scales} {row.post}" + (f", {row.rule}" if row.rule != "na" else "")


def _measured(result: PublishedResult) -> str:
    """How the authors measured, as far as it is known."""
    parts = (result.rule, result.refiner, result.segmenter, result.readout)
    return ", ".join(part for part in parts if part is not None) or "not made here"
