"""Plans an experiment: reads its files, then computes the stages and products of all cells from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from wsss_bench.artifacts.data_reads import DataRead
from wsss_bench.artifacts.data_record import read_record
from wsss_bench.artifacts.layout import DATA_RECORD, shortened
from wsss_bench.plan.config import DataFile, Variant
from wsss_bench.plan.matrix import Cell, expand, overrides_of
from wsss_bench.plan.multi_stage import MultiStage
from wsss_bench.plan.plan import Plan, ScoredProduct, StageFolder
from wsss_bench.plan.predictions import seeds, segmentation
from wsss_bench.plan.reader import ExperimentFiles, read_files
from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.short_trainings import short_trainings
from wsss_bench.plan.stage_configs import CellConfigs
from wsss_bench.plan.stage_table import StageTable
from wsss_bench.plan.training import train


def make_plan(
    experiment: Path,
    runs: Path,
    configs: Path | None = None,
    methods: Sequence[str] | None = None,
    changes: Sequence[str] = (),
) -> Plan:
    """Read an experiment and plan its stages. Writes nothing to disk.

    The digests of the data are those that the experiment was last run with, if it was; the data themselves
    are not read.

    Args:
        experiment: Path or name of the experiment.
        runs: Where stage folders are.
        configs: The own folder of configurations, if it is not where it usually is.
        methods: Names of methods that stand in place of the experiment's rows.
        changes: What is changed for this run (`plan.changes`).

    Raises:
        ConfigError: anything wrong in a YAML file that the experiment uses, or a stage folder that holds the
            result of another configuration.
    """
    files = read_files(experiment, configs, methods, changes)
    folder = StageFolder(runs)
    absent = frozenset(module for module in required_modules(files) if find_spec(module) is None)
    record = read_record(runs / files.name / DATA_RECORD)
    digests = {read: recorded.digest for read, recorded in record.items()}
    plan = plan_experiment(files, folder, absent, digests)
    folder.check_results(plan.stages.values())
    return plan


def required_modules(files: ExperimentFiles) -> list[str]:
    """Modules that the refiners of an experiment require, each once."""
    experiment, configs = files.experiment, files.configs
    refiners = (
        configs.refiner(name, dataset, files.trainer)
        for dataset in experiment.data
        for name in experiment.refiners
    )
    return sorted({module for refiner in refiners for module in refiner.requires})


def plan_experiment(
    files: ExperimentFiles,
    folder: StageFolder,
    absent: frozenset[str],
    data: Mapping[DataRead, str] | None = None,
) -> Plan:
    """Plan an experiment whose files were read. A pure function of its arguments.

    Args:
        files: The experiment and its configurations.
        folder: The stage folders that exist.
        absent: Modules of `required_modules` that are not installed.
        data: Digests of the data that stages read, where they are known.
    """
    experiment = files.experiment
    cells = expand(files)
    for name in experiment.data:
        if not files.configs.data(name).protocol.eval_splits:
            raise ConfigError(
                f"{files.file}: data: nothing of {name} is scored (no protocol.eval_splits); "
                "name it as train_on"
            )
    train_on = experiment.train_on
    uses_train_on = any(cell.content.bench.learns_from_captions for cell in cells)
    names = [*experiment.data, *([train_on] if train_on and uses_train_on else [])]
    datasets = {name: files.configs.data(name) for name in names}
    # what follows the seeds of each row, in the order of the cells
    multi_stages = {
        (cell.dataset, cell.row): _multi_stage(files, cell, absent) for cell in cells if _is_multi_stage(cell)
    }
    table = StageTable(files.name, folder, data or {})
    products: dict[object, ScoredProduct] = {}
    for cell in cells:
        multi_stage = multi_stages.get((cell.dataset, cell.row))
        for product in _products(table, files, cell, datasets[cell.dataset], multi_stage):
            # what does not depend on the random seed is one run
            key = (cell.dataset, cell.row, product.evaluate or id(product))
            products.setdefault(key, product)
    notes = list(files.notes)
    if train_on and not uses_train_on:
        notes.append(f"train_on: {train_on} is not used, since no method of this run learns from captions")
    for name, file in datasets.items():
        if unknown := set(file.protocol.ss_raw_only) - set(file.protocol.eval_splits):
            notes.append(
                f"ss_raw_only of {name} has no effect on {shortened(sorted(unknown))}: not predicted"
            )
    notes += [note for after_seeds in multi_stages.values() for note in after_seeds.notes()]
    notes += short_trainings(table.stages.values())
    changed = {cell.row: cell.changes for cell in cells if cell.changes}
    notes += [f"set for this run, in row {row}: {words}" for row, words in changed.items()]
    segmenters = {
        dataset: after_seeds.describe_segmenter() for (dataset, _), after_seeds in multi_stages.items()
    }
    return Plan(
        files.name,
        files.trainer,
        experiment.jobs,
        datasets,
        table.stages,
        list(products.values()),
        notes=list(dict.fromkeys(notes)),
        segmenters={name: text for name, text in segmenters.items() if text is not None},
        data=table.data,
        with_data=partial(plan_experiment, files, folder, absent),
    )


def _is_multi_stage(cell: Cell) -> bool:
    return cell.content.bench.pipeline == "multi_stage"


def _multi_stage(files: ExperimentFiles, cell: Cell, absent: frozenset[str]) -> MultiStage:
    """The refiners and the segmenter of the experiment, as they run on the seeds of a cell."""
    experiment, configs, trainer, dataset = files.experiment, files.configs, files.trainer, cell.dataset
    variant = experiment.variants.get(cell.row)
    overrides = overrides_of(files, cell.row, variant or Variant(cell.method))
    usual = {name: configs.refiner(name, dataset, trainer) for name in experiment.refiners}
    refiners = {
        name: configs.refiner(name, dataset, trainer, cell.method, *overrides) for name in experiment.refiners
    }
    segmenter = None
    if experiment.segmenter is not None:
        segmenter = configs.segmenter(experiment.segmenter, dataset, trainer)
    return MultiStage(refiners, usual, absent, experiment.pseudo_masks, experiment.segmenter, segmenter)


def _products(
    table: StageTable, files: ExperimentFiles, cell: Cell, data: DataFile, multi_stage: MultiStage | None
) -> list[ScoredProduct]:
    """Plan one cell: adds its stages to `table` and returns what is scored, in table order."""
    configs = CellConfigs(cell, data)
    hints, protocol = configs.hints, configs.protocol
    if configs.extra_images and not hints.extra:
        raise ConfigError(
            f"{cell.row} trains on further images (data.extra_images: {', '.join(configs.extra_images)}), "
            "but its row does not say so; name them in bench.extra, e.g. [web_images]"
        )
    trained = train(table, files, cell)
    if _is_multi_stage(cell):
        assert multi_stage is not None
        # seeds without training are the same for every random seed
        first = cell if hints.trains else replace(cell, random_seed=files.experiment.random_seeds[0])
        seed, product = seeds(table, CellConfigs(first, data), trained, configs.training_split)
        return [product, *multi_stage.products(table, configs, seed)]
    products = []
    if hints.pipeline != "upper_bound" and hints.threshold is not None and protocol.train_split:
        products.append(seeds(table, configs, trained, protocol.train_split)[1])
    return products + [segmentation(table, configs, trained, split) for split in protocol.eval_splits]
