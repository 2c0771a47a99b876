"""`wsss-bench report EXPERIMENT`: write the page of what is done, or print its tables in one form."""

from __future__ import annotations

import time

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.plan.planner import make_plan
from wsss_bench.report.export import add_export_options, print_export
from wsss_bench.report.html.page import write_page
from wsss_bench.report.leaderboard import make_leaderboard
from wsss_bench.report.results import read_results


def main(argv: list[str]) -> int:
    """Write the page of an experiment, or print its tables in one form, without running anything."""
    parser = LineParser(
        prog="wsss-bench report",
        description="Write a page with scores, figures and pictures of what is done.",
    )
    add_matrix_arguments(parser)
    add_export_options(parser)
    options = parser.parse_args(argv)
    start = time.monotonic()
    plan = make_plan(options.experiment, options.runs, options.configs, options.methods, options.set)
    if options.export:
        print_export(plan, options.export)
        return 0
    page = write_page(plan, make_leaderboard(read_results(plan)), options.runs)
    print(f"page: {page} ({time.monotonic() - start:.1f} s)", flush=True)
    return 0
