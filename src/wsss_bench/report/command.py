"""`wsss-bench table experiments/mini.yaml`: write and print the table of what is done."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.artifacts.files import write_bytes, write_json
from wsss_bench.plan.plan import Plan
from wsss_bench.plan.planner import make_plan
from wsss_bench.report.chart import write_chart
from wsss_bench.report.data_files import csv_text, json_content
from wsss_bench.report.differences import differences
from wsss_bench.report.leaderboard import make_leaderboard
from wsss_bench.report.markdown.page import render
from wsss_bench.report.results import ProductResult, read_results


def main(argv: list[str]) -> int:
    """Print the table of an experiment without running anything."""
    parser = LineParser(prog="wsss-bench table", description="Print the table of what is done.")
    add_matrix_arguments(parser)
    options = parser.parse_args(argv)
    plan = make_plan(options.experiment, options.runs, options.configs, options.methods, options.set)
    publish(plan, options.runs)
    return 0


def publish(plan: Plan, runs: Path) -> list[ProductResult]:
    """Write `<runs>/<experiment>/leaderboard.{csv,json,md,png}` from what is done, and print the Markdown.

    Returns:
        What was read.
    """
    results = read_results(plan)
    board = make_leaderboard(results)
    compared = differences(board)
    page = render(plan, board, compared)
    folder = runs / plan.experiment
    write_bytes(folder / "leaderboard.csv", csv_text(board).encode())
    write_json(folder / "leaderboard.json", json_content(board, compared))
    write_bytes(folder / "leaderboard.md", page.encode())
    write_chart(board, folder / "leaderboard.png")
    print(f"\n{page}\nwritten to {folder}/leaderboard.{{csv,json,md,png}}", flush=True)
    return results
