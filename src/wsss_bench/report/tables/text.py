"""Tables as text for a terminal, no wider than it is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from rich.text import Text

from wsss_bench.report.results import DAMAGED, FAILED
from wsss_bench.report.tables.build import Summary
from wsss_bench.report.tables.table import Line, Table

WIDTH = 118
"""The widest page; terminals that are wider get the same."""
NARROWEST = 60
LONGEST = {"method": 34, "extra": 18, "backbone": 24, "source": 30}
"""Columns of words that are broken into lines where they are longer."""
SHORT, SHORTEST = 22, 8
"""Widths of a column of words before other columns are left out, and after that."""
GAP = "  "
INDENT = "  "


def page(summary: Summary, width: int = WIDTH) -> Text:
    """All tables and notes.

    Args:
        summary: What an experiment has found.
        width: Characters of a line, at most `WIDTH`.
    """
    width = max(NARROWEST, min(width, WIDTH))
    parts = [table_text(table, width) for table in summary.tables]
    if not summary.tables:
        parts.append(Text("Nothing is scored.\n", "bold"))
    if summary.notes:
        notes = [note.replace("`", "").replace("\\*", "*") for note in summary.notes]  # they are Markdown
        lines = [textwrap.fill(note, width, subsequent_indent=INDENT) for note in notes]
        parts.append(Text("\n".join(lines) + "\n", "dim"))
    return Text("\n").join(parts)


def table_text(table: Table, width: int) -> Text:
    """A table with its question and the basis of its figures."""
    room = width - len(INDENT)
    shown, widths = _layout(table, room)
    left_out = [head.text for head in table.heads if head not in shown.heads]
    text = Text()
    text.append(textwrap.fill(table.question, width) + "\n", "bold")
    basis = table.basis + (f"\nleft out for lack of room: {', '.join(left_out)}" if left_out else "")
    text.append("\n".join(textwrap.fill(line, width) for line in basis.splitlines()) + "\n\n", "dim")
    heading = GAP.join(
        head.text.ljust(size) if head.kind == "words" else head.text.rjust(size)
        for head, size in zip(shown.heads, widths, strict=True)
    )
    text.append(f"{INDENT}{heading.rstrip()}\n{INDENT}{'─' * len(heading)}\n")
    for group in shown.groups:
        if group.title:
            text.append(f"{INDENT}{group.title}\n", "italic")
        for line in group.lines:
            text.append_text(_line(shown, line, widths))
    return text


def _layout(table: Table, room: int) -> tuple[Table, list[int]]:
    """The columns that fit, and their widths."""
    kept = list(range(len(table.heads)))
    widths = [_natural(table, index) for index in kept]
    words = [index for index in kept if table.heads[index].kind == "words"]
    _shrink(widths, kept, words, room, SHORT)
    while _total([widths[index] for index in kept]) > room:
        droppable = [index for index in kept if table.heads[index].drop]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda index: (table.heads[index].drop, index)))
    for index in words:
        widths[index] = _natural(table, index)
    _shrink(widths, kept, [index for index in words if index in kept], room, SHORTEST)
    return table.with_columns(kept), [widths[index] for index in kept]


def _shrink(widths: list[int], kept: list[int], words: list[int], room: int, least: int) -> None:
    """Make columns of words narrower until all columns fit, the widest first."""
    while words and _total([widths[index] for index in kept]) > room:
        widest = max(words, key=lambda index: widths[index])
        if widths[widest] <= least:
            return
        widths[widest] -= 1


def _natural(table: Table, index: int) -> int:
    head = table.heads[index]
    longest = max([len(head.text), *(len(cell.text) for cell in table.column(index))])
    return min(longest, LONGEST.get(head.text, longest)) if head.kind == "words" else longest


def _total(widths: list[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _broken(text: str, size: int) -> list[str]:
    """Text in lines of at most `size` characters, broken after spaces and signs where that is possible."""
    lines = [""]
    for part in re.findall(r"[^\s_/=,-]*[\s_/=,-]?", text):
        while len(lines[-1]) + len(part.rstrip()) > size:
            if not lines[-1]:  # a single part that is too long
                lines[-1], part = part[:size], part[size:]
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _line(table: Table, line: Line, widths: Sequence[int]) -> Text:
    """A line of the table; words that are too long go on in the next one."""
    broken = [
        _broken(cell.text, size) if head.kind == "words" else [cell.text]
        for cell, head, size in zip(line.cells, table.heads, widths, strict=True)
    ]
    text = Text()
    for number in range(max(map(len, broken))):
        physical = Text(INDENT)
        for parts, cell, head, size in zip(broken, line.cells, table.heads, widths, strict=True):
            part = parts[number] if number < len(parts) else ""
            aligned = part.ljust(size) if head.kind == "words" else part.rjust(size)
            style = "bold" if cell.place == 1 else "red" if cell.text in (FAILED, DAMAGED) else ""
            physical.append(aligned, style).append(GAP)
        physical.rstrip()
        text.append_text(physical).append("\n")
    return text
