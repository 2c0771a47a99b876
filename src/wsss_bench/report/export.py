"""The tables of an experiment for other documents and programs, printed and nothing else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from wsss_bench.plan.plan import Plan
from wsss_bench.report.data_files import csv_text
from wsss_bench.report.leaderboard import Leaderboard, make_leaderboard
from wsss_bench.report.results import read_results
from wsss_bench.report.tables.build import summarize_board
from wsss_bench.report.tables.github import github_markdown
from wsss_bench.report.tables.latex import latex

FORMS: dict[str, tuple[Callable[[Plan, Leaderboard], str], str]] = {
    "latex": (
        lambda plan, board: latex(summarize_board(plan, board)),
        "tables of scores for a paper (booktabs)",
    ),
    "markdown": (lambda plan, board: github_markdown(summarize_board(plan, board)), "the tables as Markdown"),
    "csv": (lambda plan, board: csv_text(board), "one line for each score, as leaderboard.csv"),
}
"""What writes each form, and what it is."""


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Add `--latex`, `--markdown` and `--csv`; the attribute `export` is the name of one, or None."""
    group = parser.add_mutually_exclusive_group()
    for name, (_, text) in FORMS.items():
        group.add_argument(
            f"--{name}",
            dest="export",
            action="store_const",
            const=name,
            help=f"print {text}, and nothing else; no file is written",
        )


def print_export(plan: Plan, form: str) -> None:
    """Print the results of a plan in one of `FORMS`; without any score, say so on stderr."""
    board = make_leaderboard(read_results(plan))
    if not board.rows:
        print(f"nothing of {plan.experiment} is scored yet", file=sys.stderr)
    write, _ = FORMS[form]
    print(write(plan, board), end="", flush=True)
