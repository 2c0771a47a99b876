"""The lines of a page that a command prints: each is replaced by the printed line that has the same words."""

from __future__ import annotations

import re
from collections.abc import Collection

from figures.results import Results
from wsss_bench.report.html.page import FOLDER, PAGE
from wsss_bench.report.tables.build import summarize_board
from wsss_bench.report.tables.text import page

PROMPT, CUT = "$ ", "..."
FIGURE = re.compile(r"[-+]?\d[\d.,]*|[()±≈‡*†]|(?<=\s)best(?=\s)")


def output_of(results: Results, done: Collection[str] = ()) -> str:
    """What `wsss-bench bench` prints of the stages that it plans, and at its end.

    Args:
        results: Plan and scores.
        done: Fingerprints of the stages that were complete before.
    """
    plan = results.plan
    complete = sum(fingerprint in done for fingerprint in plan.stages)
    stages = f"{len(plan.stages)} stages: {complete} complete, {len(plan.stages) - complete} to run, {CUT}"
    tables = page(summarize_board(plan, results.board))
    end = f"page: runs/{plan.experiment}/{FOLDER}/{PAGE}\n"
    return f"plan of {plan.experiment} in runs/stages:\n{stages}\n{tables}{end}"


def as_printed(shown: str, printed: str) -> str:
    """A block of a page with the printed lines in the place of those that it shows.

    Commands, fences and lines that are cut stay as they are, unless a line is printed so. A
    row is looked for in the table whose question stands above it; rows take the order of the printed ones.

    Raises:
        ValueError: a line is shown that is not printed.
    """
    lines: list[str] = []
    rows: list[tuple[int, str]] = []
    printed_lines, start = printed.splitlines(), 0
    for line in shown.split("\n"):
        text = line.strip()
        words = _words(text)
        found = [at for at in range(start, len(printed_lines)) if text and _words(printed_lines[at]) == words]
        if found:
            indent = line[: len(line) - len(line.lstrip())]
            rows.append((found[0], indent + printed_lines[found[0]].strip()))
            start = found[0] if text.endswith("?") else start
            continue
        if text and CUT not in text and not text.startswith(("```", PROMPT)):
            raise ValueError(f"a page shows a line that is not printed: {text!r}")
        lines += [row for _, row in sorted(rows)]
        rows = []
        lines.append(line)
    return "\n".join([*lines, *(row for _, row in sorted(rows))])


def _words(line: str) -> list[str]:
    return FIGURE.sub(" ", f" {line} ").split()
