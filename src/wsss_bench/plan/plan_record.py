"""The stages that an experiment was last run with: `<runs>/<experiment>/plan.json`.

Experiments share stages. What one of them still has to run may read files that another one no longer needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from wsss_bench.artifacts.files import is_complete, write_json
from wsss_bench.artifacts.layout import INPUTS, PLAN_FILE, PLAN_RECORD, STAGES, find_json
from wsss_bench.plan.plan import Plan


def write_plan_record(plan: Plan, runs: Path) -> None:
    """Write the names of the stage folders of a plan, each with those that it reads."""
    inputs = {
        stage.path.name: [plan.stages[key].path.name for key in stage.inputs.values()]
        for stage in plan.stages.values()
    }
    write_json(runs / plan.experiment / PLAN_RECORD, inputs)


def read_by_others(plan: Plan, runs: Path) -> set[str]:
    """Names of the stage folders that stages outside of a plan read which are not complete.

    These are stages that were started, and all stages of the experiments that were ever run in `runs`.
    """
    own = {stage.path.name for stage in plan.stages.values()}
    readers = {folder.name: _inputs_of(folder / PLAN_FILE) for folder in (runs / STAGES).glob("*-*-*")}
    for record in runs.glob(f"*/{PLAN_RECORD}"):
        readers |= find_json(record)
    return {
        name
        for reader, inputs in readers.items()
        if reader not in own and not is_complete(runs / STAGES / reader)
        for name in inputs
    }


def _inputs_of(plan_file: Path) -> list[str]:
    """Names of the folders that a started stage reads; none if its plan cannot be read."""
    try:
        config: Any = yaml.safe_load(plan_file.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return []
    return [Path(config[key]).name for key in INPUTS if config.get(key)] if isinstance(config, dict) else []
