"""`wsss-bench dashboard EXPERIMENT`: a workspace and a report of W&B for each data set of an experiment.

They show exactly the runs of the plan: those of its stages, also where another experiment ran them, of its
cells and of its leaderboard. Where no server answers, the workspaces are printed as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.plan.plan import Plan, ScoredProduct
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.stage_configs import CellConfigs
from wsss_bench.tracking.panels import sections
from wsss_bench.tracking.result_runs import cell_run_id, leaderboard_run_id
from wsss_bench.tracking.runs import project, run_id
from wsss_bench.tracking.sync import login_problem

SECONDS = 20
"""To wait for a server."""
MOST_RUNS = 1000
"""Runs that a panel shows at most; W&B shows ten unless told otherwise."""


def main(argv: list[str]) -> int:
    """Make the workspaces and reports of an experiment.

    Raises:
        ModuleNotFoundError: `wandb-workspaces` is not installed.
    """
    parser = LineParser(
        prog="wsss-bench dashboard",
        description="Make a workspace and a report of W&B for each data set of an experiment.",
    )
    add_matrix_arguments(parser)
    options = parser.parse_args(argv)
    if find_spec("wandb_workspaces") is None:
        raise ModuleNotFoundError(
            "the dashboard needs the package wandb-workspaces; run pip install 'wandb-workspaces>=0.4'"
        )
    plan = make_plan(options.experiment, options.runs, options.configs, options.methods, options.set)
    entity, problem = find_entity()
    if entity is None:
        print(f"note: nothing was sent, these are the workspaces: {problem}", file=sys.stderr, flush=True)
        print(json.dumps([workspace(plan, name, "")._spec for name in datasets(plan)], indent=1))
        return 0
    table = options.runs / plan.experiment / "leaderboard.md"
    for name in datasets(plan):
        # the report first, which makes the project where there is none
        print(f"report of {name}: {report(plan, name, entity, table).save().url}")
        print(f"workspace of {name}: {workspace(plan, name, entity).save().url}", flush=True)
    return 0


def find_entity() -> tuple[str | None, str]:
    """The user or team at the server; None and the reason if no server answers."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return None, f"WANDB_MODE is {os.environ['WANDB_MODE']}"
    if problem := login_problem():
        return None, problem
    import wandb

    try:
        return os.environ.get("WANDB_ENTITY") or wandb.Api(timeout=SECONDS).default_entity, ""
    except Exception as error:  # of W&B: no network, no server, a wrong key
        return None, str(error)


def datasets(plan: Plan) -> list[str]:
    """The data sets that something is scored on."""
    return list(dict.fromkeys(product.cell.dataset for product in plan.products))


def workspace(plan: Plan, dataset: str, entity: str) -> Any:
    """The workspace of a data set, not saved yet.

    Args:
        plan: The experiment.
        dataset: Name of the data set.
        entity: User or team.
    """
    from wandb_workspaces import workspaces as ws

    products = _products(plan, dataset)
    return ws.Workspace(
        entity=entity,
        project=project(),
        name=f"{plan.experiment} on {dataset}",
        sections=[
            ws.Section(name=heading, panels=panels, is_open=True)
            for heading, panels in sections(plan, products, dataset)
        ],
        settings=ws.WorkspaceSettings(max_runs=MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=f"Metric('ID') in {runs_of(plan, products)}",
            groupby=[ws.Config("method"), ws.Config("stage")],
        ),
    )


def report(plan: Plan, dataset: str, entity: str, table: Path) -> Any:
    """The report of a data set, not saved yet: the panels of the workspace, and the printed table.

    Args:
        plan: The experiment.
        dataset: Name of the data set.
        entity: User or team.
        table: The table as Markdown; left out if there is no such file.
    """
    from wandb_workspaces.reports import v2 as wr

    products = _products(plan, dataset)
    runs = wr.Runset(
        entity=entity,
        project=project(),
        name=plan.experiment,
        filters=f"Metric('ID') in {runs_of(plan, products)}",
        groupby=["config.method", "config.stage"],
    )
    blocks: list[Any] = []
    for heading, panels in sections(plan, products, dataset):
        blocks += [wr.H2(heading), wr.PanelGrid(runsets=[runs], panels=panels)]
    if table.is_file():
        blocks += [wr.H2("Printed table"), wr.MarkdownBlock(table.read_text(encoding="utf-8"))]
    return wr.Report(project=project(), entity=entity, title=f"{plan.experiment} on {dataset}", blocks=blocks)


def runs_of(plan: Plan, products: list[ScoredProduct]) -> list[str]:
    """Ids of the runs of stages, cells and leaderboard."""
    chains = [plan.chain(product.evaluate) for product in products if product.evaluate is not None]
    stages = [run_id(stage.path.name) for chain in chains for stage in chain]
    titles = [CellConfigs(product.cell, plan.datasets[product.cell.dataset]).title() for product in products]
    cells = [cell_run_id(plan.experiment, title) for title in titles]
    return list(dict.fromkeys([*stages, *cells, leaderboard_run_id(plan.experiment)]))


def _products(plan: Plan, dataset: str) -> list[ScoredProduct]:
    return [product for product in plan.products if product.cell.dataset == dataset]
