r"""Tables of scores for a paper: LaTeX with `\usepackage{booktabs}`."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.report.markdown.cells import STALE_MARK
from wsss_bench.report.tables.build import Summary
from wsss_bench.report.tables.table import Cell, Line, Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "≈": r"$\approx$",
}
"""Characters that LaTeX takes for something else, or does not have in its usual fonts."""
NO_SCORE = "--"
PLACES = {1: r"\textbf{%s}", 2: r"\underline{%s}"}


def latex(summary: Summary) -> str:
    """A table for each product and data set; empty where nothing is scored.

    The best score of each block is bold and the second one underlined, among those that compete: the same
    track, extra data and protocol. The protocol is in the caption. Scores that never rank are left out.
    """
    return "\n".join(map(table_latex, summary.scores))


def table_latex(table: Table) -> str:
    """A `table` environment, after comments on rows that are not final."""
    remarks = _remarks(table)
    table = table.with_columns([index for index, head in enumerate(table.heads) if head.printed])
    blocks: dict[str, list[Line]] = {}
    for line in table.lines:
        if all(cell.mean is None for cell in line.cells):
            continue
        blocks.setdefault(line.block, []).append(line)
    body = [_row([escape(head.text) for head in table.heads]), r"\midrule"]
    for number, (title, lines) in enumerate(blocks.items()):
        body += [r"\midrule"] if number else []
        body.append(_row([rf"\multicolumn{{{len(table.heads)}}}{{l}}{{\textit{{{escape(title)}}}}}"]))
        body += [
            _row(
                [
                    _cell(cell, head.kind == "words")
                    for cell, head in zip(line.cells, table.heads, strict=True)
                ]
            )
            for line in lines
        ]
    columns = "".join("l" if head.kind == "words" else "r" for head in table.heads)
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            *remarks,
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_caption(table)}}}",
            rf"  \label{{tab:{''.join(sign if sign.isalnum() else '-' for sign in table.name)}}}",
            rf"  \begin{{tabular}}{{{columns}}}",
            *(f"    {line}" for line in [r"\toprule", *body, r"\bottomrule"]),
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _remarks(table: Table) -> list[str]:
    """What the author should know before this is printed."""
    places = {head.text: index for index, head in enumerate(table.heads)}
    found = []
    for line in table.lines:
        method = line.cells[places["method"]].text
        if "runs" in places and (runs := line.cells[places["runs"]].text):
            found.append(f"% {method}: {runs} random seeds are done")
        if any(STALE_MARK in cell.text for cell in line.cells):
            found.append(f"% {method}: rests on a stage that has changed since it ran")
    return found


def escape(text: str) -> str:
    """Text in which no character has a meaning for LaTeX."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _caption(table: Table) -> str:
    title, basis = table.question.partition(":")[0], table.basis.replace("\n", "; ")
    caption = escape(f"{title}: {basis}. Protocol: {', '.join(table.protocols)}.")
    return caption.replace("/", r"/\allowbreak{}")  # protocol ids are long


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell, is_name: bool) -> str:
    """A score with its standard deviation as index, or text; `--` for any score that is missing."""
    if cell.mean is None:
        return escape(cell.text) if is_name or cell.text.strip("-")[:1].isdigit() else NO_SCORE
    mean = PLACES.get(cell.place, "%s") % f"{cell.mean:.1f}"
    return mean + ("" if cell.std is None else rf"$_{{\pm {cell.std:.1f}}}$")
