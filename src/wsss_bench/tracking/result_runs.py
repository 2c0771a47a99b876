"""The runs of results: one for each cell of an experiment, and one for its leaderboard.

They are written at the end of a bench, into `<runs>/<experiment>/wandb`, and replace those of an earlier
bench. A run whose content is as it was is not written again: its digest is kept beside it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import write_json
from wsss_bench.artifacts.layout import WANDB, find_json
from wsss_bench.artifacts.locks import waiting_for_lock
from wsss_bench.tracking.runs import RunHeader, mode, open_run, project, run_id

WRITTEN = "written.json"
"""Digest of the content of each run that is written, by its id."""
CURVE = ("curve/threshold", "curve/miou")
"""Keys of the threshold curve; the first is the x axis of the second."""


@dataclass(frozen=True)
class Table:
    """A table in JSON types."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class ResultRun:
    """A run with results.

    Args:
        header: What it is found by.
        summary: Figures by key.
        tables: Tables by key.
        curve: Background threshold and mIoU.
    """

    header: RunHeader
    summary: dict[str, float] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    curve: list[tuple[float, float]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """sha256 of all that is written, and of where it goes."""
        content = [mode(), project(), asdict(self)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def cell_run_id(experiment: str, cell: str) -> str:
    """Id of the run of a cell."""
    return run_id(f"cell-{experiment}-{cell}")


def leaderboard_run_id(experiment: str) -> str:
    """Id of the run of a leaderboard."""
    return run_id(f"leaderboard-{experiment}")


def write_results(folder: Path, runs: Sequence[ResultRun]) -> None:
    """Write the runs that have changed, and remove those that are no more; waits for another bench that does.

    Args:
        folder: Folder of the experiment.
        runs: All runs of its results.
    """
    with waiting_for_lock(folder / WANDB, "results"):
        _write_changed(folder, runs)


def _write_changed(folder: Path, runs: Sequence[ResultRun]) -> None:
    record = folder / WANDB / WRITTEN
    written = find_json(record)
    wanted = {run.header.id: run.digest for run in runs}
    if written == wanted:
        return
    for gone in written.keys() - wanted.keys():
        _remove(_folders_of(folder, gone))
    done = {name: digest for name, digest in written.items() if wanted.get(name) == digest}
    for run in runs:
        if run.header.id not in done:
            earlier = _folders_of(folder, run.header.id)
            _write(folder, run)
            _remove(earlier)
            done[run.header.id] = run.digest
            write_json(record, done)
    write_json(record, done)


def _write(folder: Path, content: ResultRun) -> None:
    import wandb

    settings = {"silent": True, "console": "off", "x_disable_stats": True}
    with open_run(folder, content.header, goes_on=False, **settings) as run:
        threshold, miou = CURVE
        run.define_metric(threshold, summary="none")
        run.define_metric(miou, step_metric=threshold, summary="none")
        for point in content.curve:
            run.log(dict(zip(CURVE, point, strict=True)))
        tables = {
            name: wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
            for name, table in content.tables.items()
        }
        if tables:
            run.log(tables)
        run.summary.update(content.summary)


def _folders_of(folder: Path, name: str) -> list[Path]:
    """The folders that W&B has made for a run."""
    return [file.parent for file in (folder / WANDB).glob(f"*run-*/run-{name}.wandb")]


def _remove(folders: Sequence[Path]) -> None:
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
