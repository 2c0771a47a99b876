"""From cells to a directed acyclic graph of unique stages, and what is left of it to do.

A stage is named by what decides its result: `fingerprint` = sha256 of its kind, its configuration without any
path of this machine's runs, and the fingerprints of the stages it reads. Two cells, or two experiments, that
ask for the same result share the stage and its folder `runs/stages/<kind>-<label>-<fingerprint8>`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from wsss_bench.artifacts import is_complete, read_manifest, write_atomically
from wsss_bench.bench.config import ConfigFolder, DataFile, Protocol, merge, read_experiment
from wsss_bench.bench.matrix import Cell, expand
from wsss_bench.bench.schema import ConfigError

COMMANDS = {
    "train": "fit",
    "seed": "predict",
    "predict": "predict",
    "refine": "refine",
    "evaluate": "evaluate",
}
PLACES = ("out", "stage", "warm_start", "checkpoint", "seeds", "masks")
"""Keys that say where things are, not what is computed."""

PLAN_FILE = "plan.yaml"
FAILURE_FILE = "failed.json"


@dataclass(frozen=True)
class Stage:
    """One process to run.

    Args:
        kind: `train`, `seed`, `refine`, `predict` or `evaluate`.
        label: Row, data set, seed and what tells it from its siblings, for people.
        config: Content of `plan.yaml`: exactly the keys that its command takes.
        inputs: Fingerprints of the stages it reads, by role.
        fingerprint: sha256, hexadecimal.
        path: Its folder.
    """

    kind: str
    label: str
    config: dict[str, Any]
    inputs: dict[str, str]
    fingerprint: str
    path: Path

    @property
    def command(self) -> str:
        """The `wsss-bench` command that runs it."""
        return COMMANDS[self.kind]

    @property
    def arguments(self) -> list[str]:
        """What to put behind `wsss-bench` to run it by hand."""
        return [self.command, "--config", str(self.path / PLAN_FILE)]

    @property
    def name(self) -> str:
        """Kind and label."""
        return f"{self.kind} {self.label}"

    @property
    def state(self) -> str:
        """`complete`, `failed` (its last attempt did), `resumes` (it was interrupted) or `new`."""
        if is_complete(self.path):
            return "complete"
        if (self.path / FAILURE_FILE).is_file():
            return "failed"
        return "resumes" if (self.path / PLAN_FILE).is_file() else "new"

    def write_plan(self) -> None:
        """Write `plan.yaml` into the stage's folder."""
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        write_atomically(self.path / PLAN_FILE, lambda file: file.write(text.encode()))


@dataclass(frozen=True)
class Product:
    """Something of a cell that is scored.

    Args:
        cell: The cell.
        kind: `seed`, `refined` or `segmentation`.
        split: What it is scored on.
        refiner: Name of the refiner of a refined product.
        evaluate: Fingerprint of the stage that scores it; None where `missing` says why there is none.
        missing: Why it cannot be made here, in a few words (`no crf`).
    """

    cell: Cell
    kind: str
    split: str
    refiner: str | None
    evaluate: str | None
    missing: str = ""


@dataclass
class Plan:
    """All that an experiment asks for.

    Args:
        experiment: Its name: the stem of its file.
        trainer: Arguments of the trainer it runs under.
        jobs: Stages at a time, if it says so.
        datasets: The data sets, by name.
        stages: Unique stages by fingerprint, inputs before those that read them.
        products: What is scored, in table order.
        notes: What a user should know before it starts, a sentence each.
    """

    experiment: str
    trainer: dict[str, Any]
    jobs: int | None
    datasets: dict[str, DataFile]
    stages: dict[str, Stage] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def chain(self, fingerprint: str) -> list[Stage]:
        """The stage and everything it needs, inputs first."""
        found: dict[str, Stage] = {}

        def visit(key: str) -> None:
            for parent in self.stages[key].inputs.values():
                visit(parent)
            found.setdefault(key, self.stages[key])

        visit(fingerprint)
        return list(found.values())


class StageFolder:
    """`runs/stages`: what earlier runs left there."""

    def __init__(self, runs: Path) -> None:
        self.root = runs / "stages"
        self._by_key: dict[tuple[str, str], Path] = {}
        for path in sorted(self.root.glob("*-*-*")):
            kind, _, rest = path.name.partition("-")
            self._by_key[kind, rest[-8:]] = path

    def path(self, kind: str, label: str, fingerprint: str) -> Path:
        """Folder of a stage: the one that exists for its fingerprint, whoever named it, or a new name.

        Raises:
            ConfigError: the folder belongs to another fingerprint with the same first eight digits.
        """
        path = self._by_key.get((kind, fingerprint[:8]))
        if path is None:
            return self.root / f"{kind}-{label}-{fingerprint[:8]}"
        if is_complete(path) and read_manifest(path).get("fingerprint") != fingerprint:
            raise ConfigError(f"{path} holds the result of another configuration; move it away and run again")
        return path

    @cached_property
    def _seconds(self) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], tuple[str, float]] = {}
        for path in self._by_key.values():
            if is_complete(path):
                manifest = read_manifest(path)
                key = (str(manifest.get("kind")), _without_seed(str(manifest.get("label"))))
                entry = (str(manifest.get("finished", "")), float(manifest.get("wall_seconds", 0.0)))
                found[key] = max(found.get(key, entry), entry)
        return {key: seconds for key, (_, seconds) in found.items()}

    def estimate(self, stage: Stage) -> float | None:
        """Wall seconds of the latest run of the same kind, row and data set with any seed, if any."""
        return self._seconds.get((stage.kind, _without_seed(stage.label)))


def _without_seed(label: str) -> str:
    return re.sub(r"-s\d+(?=-|$)", "", label)


def fingerprint_of(kind: str, config: dict[str, Any], inputs: dict[str, str]) -> str:
    """sha256 of what decides a stage's result; the same for equal values in any order of keys."""
    content = {
        "kind": kind,
        "config": {key: value for key, value in config.items() if key not in PLACES},
        "inputs": inputs,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


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


def describe(plan: Plan, folder: StageFolder) -> Iterator[str]:
    """The plan for people: a line a stage, with its state and its time in an earlier run, and the total."""
    states = {"complete": "complete, skipped", "new": "new", "failed": "failed before, tried again"}
    estimates = []
    for stage in plan.stages.values():
        state = stage.state
        seconds = None if state == "complete" else folder.estimate(stage)
        if state != "complete":
            estimates.append(seconds)
        duration = "" if state == "complete" else "?" if seconds is None else clock(seconds)
        why = states.get(state, "interrupted, resumes")
        yield f"  {stage.kind:<9}{stage.label:<36} {stage.fingerprint[:8]}  {duration:>8}  {why}"
    known = [seconds for seconds in estimates if seconds is not None]
    unknown = len(estimates) - len(known)
    total = [clock(sum(known))] if known else []
    total += [f"{unknown} of unknown length (?)"] if unknown else []
    done = len(plan.stages) - len(estimates)
    summary = f"{len(plan.stages)} stages: {done} complete, {len(estimates)} to run"
    yield f"{summary}, stage time {' + '.join(total)}" if total else summary


def clock(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
