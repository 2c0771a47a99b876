"""The tables of the terminal as GitHub Markdown."""

from __future__ import annotations

import re

from wsss_bench.report.markdown.cells import aligned
from wsss_bench.report.tables.build import Summary
from wsss_bench.report.tables.table import Table

SPECIAL = re.compile(r"([\\|*_~<>`#\[\]])")


def github_markdown(summary: Summary) -> str:
    """All tables and notes; empty where nothing is scored."""
    if not summary.tables:
        return ""
    notes = "\n".join(f"- {note}" for note in summary.notes)
    return "\n\n".join([*map(table_markdown, summary.tables), notes]) + "\n"


def table_markdown(table: Table) -> str:
    """A table with its question as heading; titles of groups are lines in bold."""
    lines = [[escape(head.text) for head in table.heads]]
    for group in table.groups:
        if group.title:
            first = next(index for index, head in enumerate(table.heads) if head.kind == "words")
            title = [""] * len(table.heads)
            title[first] = f"**{group.title}**"
            lines.append(title)
        lines += [
            [f"**{escape(cell.text)}**" if cell.place == 1 else escape(cell.text) for cell in line.cells]
            for line in group.lines
        ]
    basis = escape(table.basis.replace("\n", "; "))
    return f"### {escape(table.question)}\n\n{basis}\n\n{aligned(lines)}"


def escape(text: str) -> str:
    """Text in which no character has a meaning for Markdown."""
    return SPECIAL.sub(r"\\\1", text)
