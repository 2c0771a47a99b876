"""The results of an experiment for W&B: what the report has read, as runs of cells and of the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsss_bench.plan.plan import Plan
from wsss_bench.plan.stage_configs import CellConfigs
from wsss_bench.report.cell_results import CellResults, by_cell
from wsss_bench.report.data_files import COLUMNS, as_records
from wsss_bench.report.leaderboard import make_leaderboard
from wsss_bench.report.results import ProductResult
from wsss_bench.tracking.result_runs import (
    ResultRun,
    Table,
    cell_run_id,
    leaderboard_run_id,
    write_results,
)
from wsss_bench.tracking.runs import RunHeader, facts_of, harmless, mode, run_id, tag_of


def track_results(plan: Plan, runs: Path, results: Sequence[ProductResult]) -> None:
    """Write the runs of cells and leaderboard that have changed; an error is printed and costs nothing else.

    Args:
        plan: The plan.
        runs: Folder of all results.
        results: What the report has read of it.
    """
    if mode() == "disabled":
        return
    with harmless("results of this experiment"):
        protocols = {name: data.protocol for name, data in plan.datasets.items()}
        cells = [_of_cell(plan, cell) for cell in by_cell(results, protocols)]
        if cells:
            write_results(runs / plan.experiment, [*cells, _of_leaderboard(plan, results)])


def _of_cell(plan: Plan, results: CellResults) -> ResultRun:
    last = results.last.product
    configs = CellConfigs(results.cell, plan.datasets[results.cell.dataset])
    facts = configs.facts(None, None, last.refiner, last.segmenter, last.extra)
    name = configs.title()
    header = RunHeader(
        id=cell_run_id(plan.experiment, name),
        name=f"{plan.experiment} {name}",
        group=name,
        job_type="cell",
        tags=(tag_of(plan.experiment),),
        config={
            **facts_of(facts, "cell", None, _commits(results.products)),
            "experiment": plan.experiment,
            "stages": _stages(results.products),
        },
    )
    table = Table(("score", "class", "iou"), list(results.iou_of_classes()))
    return ResultRun(header, results.summary(), {"per_class": table}, results.threshold_curve())


def _of_leaderboard(plan: Plan, results: Sequence[ProductResult]) -> ResultRun:
    records = as_records(make_leaderboard(results))
    header = RunHeader(
        id=leaderboard_run_id(plan.experiment),
        name=f"{plan.experiment} leaderboard",
        group=plan.experiment,
        job_type="leaderboard",
        tags=(tag_of(plan.experiment),),
        config={
            **facts_of({}, "leaderboard", None, _commits(results)),
            "experiment": plan.experiment,
            "stages": _stages(results),
        },
    )
    table = Table(COLUMNS, [tuple(record[column] for column in COLUMNS) for record in records])
    return ResultRun(header, tables={"leaderboard": table})


def _commits(results: Sequence[ProductResult]) -> str | None:
    return " ".join(sorted({commit for result in results for commit in result.commits})) or None


def _stages(results: Sequence[ProductResult]) -> list[str]:
    """All stages, those too that other experiments ran, by the ids of their runs where they have one."""
    return list(dict.fromkeys(run_id(stage.name) for result in results for stage in result.stages))
