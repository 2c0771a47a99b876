"""The train stages: which cell is trained for a cell that is scored, and which training it starts from."""

from __future__ import annotations

from wsss_bench.plan.config import Variant
from wsss_bench.plan.config_folder import DATA, METHODS
from wsss_bench.plan.matrix import Cell, overrides_of
from wsss_bench.plan.plan import Stage
from wsss_bench.plan.reader import ExperimentFiles
from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.stage_configs import CellConfigs
from wsss_bench.plan.stage_table import StageTable


def train(table: StageTable, files: ExperimentFiles, cell: Cell) -> Stage | None:
    """The train stage of a cell, and those that it starts from; None for a method without training."""
    if not cell.content.bench.trains:
        return None
    return _train(table, files, trained_cell(files, cell))


def trained_cell(files: ExperimentFiles, cell: Cell) -> Cell:
    """The cell that is trained for `cell`: itself, unless `train_on` or `same_training` says otherwise."""
    experiment = files.experiment
    from_captions = cell.content.bench.learns_from_captions
    target = experiment.train_on if from_captions else None
    if target is None and not files.configs.data(cell.dataset).protocol.train_split:
        other = (
            "set train_on in the experiment to the data that it is trained on, or " if from_captions else ""
        )
        raise ConfigError(
            f"{files.configs.path(DATA, cell.dataset)} is only scored on (no protocol.train_split), but "
            f"{cell.method} trains on the data that is scored; {other}leave one of the two out"
        )
    variant = experiment.variants.get(cell.row)
    row = cell.method if variant and variant.same_training else cell.row
    own = variant if variant and row == cell.row else Variant(cell.method)
    return _cell(files, row, own, target or cell.dataset, cell.random_seed)


def _train(table: StageTable, files: ExperimentFiles, cell: Cell, users: tuple[str, ...] = ()) -> Stage:
    """The train stage of exactly this cell.

    Args:
        table: Receives the stages.
        files: The experiment.
        cell: What is trained.
        users: Methods whose training starts from this one, to refuse a circle.
    """
    warm_start = None
    name = cell.content.bench.warm_start
    if name is not None:
        place = f"{cell.file}: bench.warm_start"
        if name in (*users, cell.method):
            raise ConfigError(f"{place}: {name} leads back to itself")
        first = _cell(files, name, Variant(name), cell.dataset, cell.random_seed)
        if not first.content.bench.trains:
            raise ConfigError(f"{place}: {name} has no train stage")
        warm_start = _train(table, files, first, (*users, cell.method))
    configs = CellConfigs(cell, files.configs.data(cell.dataset))
    config = configs.method() | {"warm_start": str(warm_start.path) if warm_start else None}
    prediction = configs.prediction(cell.content.inference, configs.hints.threshold)
    facts = configs.facts(configs.training_split)
    reads = {"warm_start": warm_start}
    return table.stage("train", configs.title(), config, reads, prediction, facts=facts)


def _cell(files: ExperimentFiles, row: str, variant: Variant, dataset: str, random_seed: int) -> Cell:
    """A cell outside the matrix, with all overrides of its row."""
    overrides = overrides_of(files, row, variant)
    content = files.configs.method(variant.method, dataset, files.trainer, *overrides)
    path = files.configs.path(METHODS, variant.method)
    return Cell(row, variant.method, dataset, random_seed, content, path)
