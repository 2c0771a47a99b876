"""Text of table cells, and the layout of a Markdown table that also lines up in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.report.leaderboard import Row

NOTHING = "-"
STALE_MARK = "‡"
"""Behind a score that rests on a stage which has changed since it ran."""


def number(value: float | None, form: str) -> str:
    """A number in a format such as `.1f`; `-` for None."""
    return NOTHING if value is None else format(value, form)


def score(row: Row) -> str:
    """Mean ± standard deviation in percent, and the number of runs: `51.0 ± 1.4 (2)` or `50.0 (1 of 2)`.

    `‡` stands behind a score that rests on a stage which has changed since it ran.
    """
    done, planned = len(row.runs), row.planned
    spread = "" if row.miou_std is None else f" ± {row.miou_std:.1f}"
    return f"{row.miou_mean:.1f}{spread} ({done if done == planned else f'{done} of {planned}'})" + (
        STALE_MARK if row.is_stale else ""
    )


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table with padded cells.

    Args:
        lines: The head and the rows, one text for each column. A row of two texts is a heading inside the
            table; its second text may be longer than its column.
    """
    width = len(lines[0])
    columns = [max(len(line[i]) for line in lines if len(line) == width) for i in range(width)]
    rendered = []
    for line in lines:
        if len(line) == width:
            cells = [text.ljust(size) for text, size in zip(line, columns, strict=True)]
        else:
            cells = [line[0].ljust(columns[0]), line[1].ljust(columns[1])] + [""] * (width - 2)
        rendered.append("| " + " | ".join(cells) + " |")
    rendered.insert(1, "|" + "|".join("-" * (size + 2) for size in columns) + "|")
    return "\n".join(rendered)
