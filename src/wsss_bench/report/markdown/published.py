"""The table of published results, each beside our score with the same read-out."""

from __future__ import annotations

from wsss_bench.report.markdown.cells import aligned, number, score
from wsss_bench.report.markdown.dataset import DatasetResults


def published_section(results: DatasetResults) -> list[str]:
    """Heading and table; empty where no published result has a counterpart."""
    lines = [["method", "product", "split", "read-out", "ours", "paper", "gap", "source"]]
    for row in results.rows:
        if row.published is not None:
            readout = f"{row.scales} {row.post}" + (f", {row.rule}" if row.rule != "na" else "")
            lines.append(
                [
                    results.title(row.method),
                    row.product,
                    row.split,
                    readout,
                    score(row),
                    number(row.published.miou, ".1f"),
                    number(row.gap, "+.1f"),
                    row.published.source,
                ]
            )
    return [f"### Published results on {results.dataset}", aligned(lines)] if len(lines) > 1 else []
