"""`wsss-bench table experiments/mini.yaml`: write and print the table of what is done."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_bench.artifacts.files import write_atomically
from wsss_bench.plan.plan import Plan
from wsss_bench.plan.planner import make_plan
from wsss_bench.report.differences import differences
from wsss_bench.report.figure import write_figure
from wsss_bench.report.markdown import render
from wsss_bench.report.table import collect, write_csv, write_details


def main(argv: list[str]) -> int:
    """Print the table of an experiment without running anything."""
    parser = argparse.ArgumentParser(prog="wsss-bench table", description="Print the table of what is done.")
    parser.add_argument("experiment", type=Path, help="experiment file, such as experiments/mini.yaml")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of all results (default: runs)"
    )
    parser.add_argument(
        "--configs", type=Path, help="folder of configurations (default: the one above the experiment)"
    )
    options = parser.parse_args(argv)
    publish(make_plan(options.experiment, options.runs, options.configs), options.runs)
    return 0


def publish(plan: Plan, runs: Path) -> None:
    """Write `<runs>/<experiment>/leaderboard.{csv,json,md,png}` from what is done, and print the Markdown."""
    folder = runs / plan.experiment
    board = collect(plan)
    compared = differences(board)
    page = render(plan, board, compared)
    write_csv(board, folder / "leaderboard.csv")
    write_details(board, compared, folder / "leaderboard.json")
    write_atomically(folder / "leaderboard.md", lambda file: file.write(page.encode()))
    write_figure(board, folder / "leaderboard.png")
    print(f"\n{page}\nwritten to {folder}/leaderboard.{{csv,json,md,png}}", flush=True)
