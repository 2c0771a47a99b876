"""What a bench shows of its results: tables, files, the page, and the runs of W&B."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.bench.tracked_results import track_results
from wsss_bench.errors import explain
from wsss_bench.plan.plan import Plan
from wsss_bench.report.command import publish
from wsss_bench.report.leaderboard import Leaderboard


def show_results(plan: Plan, runs: Path) -> None:
    """Print the tables of what is done, and write the files, the page and the runs of W&B."""
    results, board = publish(plan, runs)
    publish_page(plan, board, runs)
    track_results(plan, runs, results)


def publish_page(plan: Plan, board: Leaderboard, runs: Path) -> None:
    """Write the page of what is done, and print where it is; an error costs the page only, not the table."""
    try:
        from wsss_bench.report.html.page import write_page

        page = write_page(plan, board, runs)
    except Exception as error:
        print(f"the page was not written: {explain(error) or f'{type(error).__name__}: {error}'}", flush=True)
        return
    print(f"page: {page}", flush=True)
