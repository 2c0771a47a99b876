"""`wsss-bench table experiments/mini.yaml`: write and print the table of what is done."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.artifacts.files import write_bytes, write_json
from wsss_bench.plan.plan import Plan
from wsss_bench.plan.planner import make_plan
from wsss_bench.report.chart import write_chart
from wsss_bench.report.data_files import csv_text, json_content
from wsss_bench.report.differences import differences
from wsss_bench.report.leaderboard import Leaderboard, make_leaderboard
from wsss_bench.report.markdown.page import render
from wsss_bench.report.results import ProductResult, read_results
from wsss_bench.report.tables.build import Summary, summarize_board
from wsss_bench.report.tables.text import page


def main(argv: list[str]) -> int:
    """Print the table of an experiment without running anything."""
    parser = LineParser(prog="wsss-bench table", description="Print the table of what is done.")
    add_matrix_arguments(parser)
    options = parser.parse_args(argv)
    plan = make_plan(options.experiment, options.runs, options.configs, options.methods, options.set)
    publish(plan, options.runs)
    return 0


def publish(plan: Plan, runs: Path) -> tuple[list[ProductResult], Leaderboard]:
    """Write `<runs>/<experiment>/leaderboard.{csv,json,md,png}` from what is done, and print the tables.

    Returns:
        What was read, and the leaderboard.
    """
    results = read_results(plan)
    board = make_leaderboard(results)
    compared = differences(board)
    folder = runs / plan.experiment
    write_bytes(folder / "leaderboard.csv", csv_text(board).encode())
    write_json(folder / "leaderboard.json", json_content(board, compared))
    write_bytes(folder / "leaderboard.md", render(plan, board, compared).encode())
    write_chart(board, folder / "leaderboard.png")
    print_tables(summarize_board(plan, board))
    print(f"\nall columns, protocols and differences: {folder}/leaderboard.{{md,csv,json,png}}", flush=True)
    return results, board


def print_tables(summary: Summary) -> None:
    """Print the tables, in colour on a terminal, where its width counts too."""
    console = Console()
    if console.is_terminal:
        console.print(page(summary, console.width), soft_wrap=True, end="")
    else:
        print(f"\n{page(summary)}", end="")
