"""Lays out the stages of an experiment: which cells it has, and which stages each pipeline needs."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wsss_bench.bench.config import ConfigFolder, Protocol, merge, read_experiment
from wsss_bench.bench.matrix import Cell, expand
from wsss_bench.bench.plan import Plan, Product, Stage, StageFolder, fingerprint_of
from wsss_bench.bench.schema import ConfigError


def make_plan(file: Path, runs: Path, configs: Path | None = None) -> Plan:
    """Read an experiment and lay out its stages. Touches nothing on disk.

    Args:
        file: The experiment's YAML.
        runs: Where stage folders are.
        configs: The folder of configurations; by default `configs` beside the folder that holds the
            experiment.

    Raises:
        ConfigError: anything wrong in any YAML file that the experiment uses.
    """
    experiment = read_experiment(file)
    folder = ConfigFolder(configs or _configs_of(file))
    trainer = folder.trainer(experiment.trainer)
    cells = expand(experiment, folder, trainer, file)
    datasets = {name: folder.data(name) for name in experiment.data}
    plan = Plan(file.stem, trainer, experiment.jobs, datasets)
    builder = _Builder(plan, folder, StageFolder(runs), experiment.override)
    for cell in cells:
        builder.add(cell, experiment.refiners)
    return plan


def _configs_of(file: Path) -> Path:
    for parent in file.resolve().parents:
        if (parent / "configs").is_dir():
            return parent / "configs"
    raise ConfigError(f"no folder named configs above {file.resolve()}; name it with --configs DIR")


class _Builder:
    """Adds the stages of one cell after the other to a plan."""

    def __init__(
        self, plan: Plan, configs: ConfigFolder, folder: StageFolder, override: dict[str, Any]
    ) -> None:
        self.plan = plan
        self.configs = configs
        self.folder = folder
        self.override = override

    def add(self, cell: Cell, refiners: list[str]) -> None:
        """All stages and products of a cell."""
        hints = cell.content.bench
        train = self._train(cell) if hints.trains else None
        if hints.pipeline != "upper_bound":
            self._seeds(cell, train, refiners if hints.pipeline == "multi_stage" else [])
        if hints.pipeline != "multi_stage":
            for split in self.plan.datasets[cell.dataset].protocol.eval_splits:
                self._segmentation(cell, train, split)

    def _train(self, cell: Cell, users: tuple[str, ...] = ()) -> Stage:
        warm_start = None
        name = cell.content.bench.warm_start
        if name is not None:
            if name in (*users, cell.method):
                raise ConfigError(
                    f"configs/methods/{cell.method}.yaml: bench.warm_start: {name} leads back to itself"
                )
            content = self.configs.method(name, cell.dataset, self.plan.trainer, self.override.get(name, {}))
            if not content.bench.trains:
                raise ConfigError(
                    f"configs/methods/{cell.method}.yaml: bench.warm_start: {name} has no train stage"
                )
            warm_start = self._train(
                Cell(name, name, cell.dataset, cell.seed, content), (*users, cell.method)
            )
        config = self._sections(cell) | {"warm_start": str(warm_start.path) if warm_start else None}
        return self._stage("train", _label(cell), config, {"warm_start": warm_start})

    def _seeds(self, cell: Cell, train: Stage | None, refiners: list[str]) -> None:
        protocol, source = self._data(cell)
        split, hints = protocol.train_split, cell.content.bench
        if hints.threshold is None:
            raise ConfigError(
                f"configs/methods/{cell.method}.yaml: bench.threshold: a method with seeds needs the fixed "
                "background threshold that ranks them, in [0, 1]; add it"
            )
        seed = self._predict(cell, train, "seed", "seed", split, None)
        scales = "ms" if len(cell.content.inference.get("scales") or [1.0]) > 1 else "ss"
        config = {
            **self._evaluation(cell, split, "seed"),
            "seeds": str(seed.path),
            "labels": "given",
            "scales": scales,
            "post": "raw",
            "threshold": hints.threshold,
            "holdout": protocol.holdout,
        }
        scored = self._stage("evaluate", _label(cell, "seed"), config, {"seeds": seed})
        self.plan.products.append(Product(cell, "seed", split, None, scored.fingerprint))
        for name in refiners:
            refiner = self.configs.refiner(name, cell.dataset)
            lacking = [module for module in refiner.requires if find_spec(module) is None]
            if lacking:
                self._cannot_refine(cell, split, name, lacking[0])
                continue
            arguments = dict(refiner.refiner.init_args)
            if "threshold" in arguments and arguments["threshold"] is None:
                arguments["threshold"] = hints.threshold
            config = {
                "source": source,
                "split": split,
                "seeds": str(seed.path),
                "refiner": {"class_path": refiner.refiner.class_path, "init_args": arguments},
            }
            masks = self._stage("refine", _label(cell, name), config, {"seeds": seed})
            config = {
                **self._evaluation(cell, split, "refined"),
                "masks": str(masks.path),
                "labels": "given",
                "scales": scales,
                "post": name,
                "threshold": None,
                "holdout": 0,
            }
            scored = self._stage("evaluate", _label(cell, name), config, {"masks": masks})
            self.plan.products.append(Product(cell, "refined", split, name, scored.fingerprint))

    def _cannot_refine(self, cell: Cell, split: str, name: str, module: str) -> None:
        mark = "no crf" if module == "pydensecrf" else f"no {module}"
        self.plan.products.append(Product(cell, "refined", split, name, None, mark))
        note = f"refiner {name} is left out: module {module} is not installed; its cells say {mark!r}"
        if note not in self.plan.notes:
            self.plan.notes.append(note)

    def _segmentation(self, cell: Cell, train: Stage | None, split: str) -> None:
        masks = self._predict(cell, train, "predict", "segmentation", split, split)
        config = {
            **self._evaluation(cell, split, "segmentation"),
            "masks": str(masks.path),
            "labels": "none",
            "scales": "ss",  # of a bare folder of masks; a stage folder says it for each of its read-outs
            "post": "raw",
            "threshold": None,
            "holdout": 0,
        }
        scored = self._stage("evaluate", _label(cell, split), config, {"masks": masks})
        self.plan.products.append(Product(cell, "segmentation", split, None, scored.fingerprint))

    def _predict(
        self, cell: Cell, train: Stage | None, kind: str, product: str, split: str, suffix: str | None
    ) -> Stage:
        protocol, _ = self._data(cell)
        config = self._sections(cell) | {
            "inference": cell.content.inference,
            "checkpoint": str(train.path) if train else None,
            "product": product,
            "split": split,
        }
        if product == "segmentation":  # seeds do not depend on how masks are read out
            config |= {"crf": protocol.crf, "scales": protocol.scales}
        return self._stage(kind, _label(cell, suffix), config, {"checkpoint": train})

    def _sections(self, cell: Cell) -> dict[str, Any]:
        """What `fit` and `predict` both take."""
        content = cell.content
        return {
            "seed_everything": cell.seed,
            "model": {"class_path": content.model.class_path, "init_args": content.model.init_args},
            "data": merge(content.data, self.plan.datasets[cell.dataset].data),
            "trainer": content.trainer,
        }

    def _evaluation(self, cell: Cell, split: str, product: str) -> dict[str, Any]:
        protocol, source = self._data(cell)
        return {
            "source": source,
            "dataset": protocol.dataset,
            "split": split,
            "product": product,
            "count": protocol.counts[split],
            "checkpoint_rule": "last",
        }

    def _data(self, cell: Cell) -> tuple[Protocol, dict[str, Any]]:
        data = self.plan.datasets[cell.dataset]
        return data.protocol, data.source

    def _stage(self, kind: str, label: str, config: dict[str, Any], reads: dict[str, Stage | None]) -> Stage:
        inputs = {role: stage.fingerprint for role, stage in reads.items() if stage is not None}
        fingerprint = fingerprint_of(kind, config, inputs)
        if fingerprint not in self.plan.stages:
            path = self.folder.path(kind, label, fingerprint)
            info = {
                "experiment": self.plan.experiment,
                "label": label,
                "fingerprint": fingerprint,
                "inputs": inputs,
            }
            config = json.loads(
                json.dumps({**config, "out": str(path), "stage": info})
            )  # no shared parts: no YAML anchors
            self.plan.stages[fingerprint] = Stage(kind, label, config, inputs, fingerprint, path)
        return self.plan.stages[fingerprint]


def _label(cell: Cell, suffix: str | None = None) -> str:
    return "-".join(part for part in (cell.row, cell.dataset, f"s{cell.seed}", suffix) if part)
