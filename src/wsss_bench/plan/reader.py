"""Reads the YAML files of an experiment from disk, each one once. The plan is then computed from memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.plan.changes import Changes, read_changes
from wsss_bench.plan.config import Experiment
from wsss_bench.plan.config_folder import (
    DATA,
    METHODS,
    REFINE,
    SEGMENTERS,
    TRAINER,
    ConfigFolder,
    file_key,
)
from wsss_bench.plan.schema import ConfigError, nearest, read_as
from wsss_bench.plan.yaml_files import read_yaml
from wsss_bench.ranges import refuse_not_finite
from wsss_bench.renamed import find_renamed


@dataclass(frozen=True)
class ExperimentFiles:
    """An experiment and all configuration files that it can need, in memory.

    Args:
        file: The experiment's file.
        experiment: What the file holds.
        configs: The other files.
        changes: What is changed for this run.
    """

    file: Path
    experiment: Experiment
    configs: ConfigFolder
    changes: Changes = field(default_factory=Changes)

    @property
    def name(self) -> str:
        """Name of the experiment; with changes it is another one, whose table has a folder of its own."""
        return f"{self.file.stem}-set-{self.changes.digest}" if self.changes.given else self.file.stem

    @property
    def trainer(self) -> dict[str, Any]:
        """Arguments of the trainer that the experiment runs with."""
        return self.configs.trainer(self.experiment.trainer)


def read_files(file: Path, configs: Path | None = None, changes: Sequence[str] = ()) -> ExperimentFiles:
    """Read an experiment and the files that it can need.

    Args:
        file: The experiment's YAML file.
        configs: The folder of configurations; by default the nearest folder `configs` above the experiment.
        changes: The options `--set`.

    Raises:
        ConfigError: a file that is not YAML, an experiment that is not valid, or a change of no row. The
            other files are checked when they are used.
    """
    experiment = read_experiment(file)
    root = configs or _configs_of(file)
    methods = _methods_of(experiment, root, _listed(root))
    changed = read_changes(changes, [*methods, *experiment.variants])
    return ExperimentFiles(file, experiment, _read_needed(root, experiment, changed), changed)


def read_configs(root: Path) -> ConfigFolder:
    """Read a whole `configs` folder."""
    listed = _listed(root)
    return ConfigFolder(root, listed, {key: _read_config(root, key) for key in sorted(listed)})


def read_experiment(path: Path) -> Experiment:
    """Read an experiment; its overrides and variants are checked when the matrix is expanded."""
    experiment = read_as(Experiment, _read_current(path, "experiment"), path)
    if isinstance(experiment.methods, str) and experiment.methods != "*":
        raise ConfigError(f'{path}: methods: expected a list of methods or "*"; got {experiment.methods!r}')
    if (experiment.segmenter is None) != (experiment.pseudo_masks is None):
        raise ConfigError(
            f"{path}: segmenter and pseudo_masks go together: the segmenter is trained on the masks of the "
            f"refiner that pseudo_masks names; got segmenter {experiment.segmenter!r}, "
            f"pseudo_masks {experiment.pseudo_masks!r}"
        )
    if experiment.pseudo_masks is not None and experiment.pseudo_masks not in experiment.refiners:
        known = experiment.refiners
        raise ConfigError(
            f"{path}: pseudo_masks: {experiment.pseudo_masks!r} is not one of refiners; "
            f"{nearest(experiment.pseudo_masks, known)}"
        )
    for key, values in (
        ("methods", experiment.methods),
        ("data", experiment.data),
        ("random_seeds", experiment.random_seeds),
    ):
        if not values:
            raise ConfigError(f"{path}: {key}: expected at least one; got an empty list")
        if isinstance(values, list) and len(set(values)) < len(values):
            raise ConfigError(f"{path}: {key}: {values} names one twice; keep one")
    return experiment


def _read_config(root: Path, key: str) -> dict[str, Any]:
    return _read_current(root / key, f"configs/{key.partition('/')[0]}")


def _read_current(path: Path, kind: str) -> dict[str, Any]:
    """Read a YAML file, refusing NaN, infinity and names that are no longer used."""
    content = read_yaml(path)
    try:
        refuse_not_finite(content, f"{path}: ")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    message = find_renamed(content, kind)
    if message is not None:
        raise ConfigError(f"{path}: {message}")
    return content


def _configs_of(file: Path) -> Path:
    for parent in file.resolve().parents:
        if (parent / "configs").is_dir():
            return parent / "configs"
    raise ConfigError(f"no folder named configs above {file.resolve()}; name it with --configs DIR")


def _listed(root: Path) -> frozenset[str]:
    return frozenset(path.relative_to(root).as_posix() for path in root.glob("*/*.yaml"))


def _methods_of(experiment: Experiment, root: Path, listed: frozenset[str]) -> Sequence[str]:
    return ConfigFolder(root, listed, {}).methods() if experiment.methods == "*" else experiment.methods


def _read_needed(root: Path, experiment: Experiment, changes: Changes) -> ConfigFolder:
    """Read the files that `experiment` names, with their overlays and the methods that others start from.

    A name without a file is no error here: `ConfigFolder` raises one, with the names that exist.
    """
    listed = _listed(root)
    contents: dict[str, dict[str, Any]] = {}

    def read(keys: Iterable[str]) -> list[dict[str, Any]]:
        wanted = [key for key in keys if key in listed]
        contents.update({key: _read_config(root, key) for key in wanted if key not in contents})
        return [contents[key] for key in wanted]

    datasets = [*experiment.data, *([experiment.train_on] if experiment.train_on else [])]
    read([file_key(TRAINER, experiment.trainer), *(file_key(DATA, name) for name in datasets)])
    overlays = {_at(contents.get(file_key(DATA, name)), "protocol", "overlay") or name for name in datasets}

    def read_layers(kind: str, name: str) -> list[dict[str, Any]]:
        return read([file_key(kind, name), *(file_key(kind, name, overlay) for overlay in sorted(overlays))])

    for name in experiment.refiners:
        read_layers(REFINE, name)
    if experiment.segmenter is not None:
        read_layers(SEGMENTERS, experiment.segmenter)
    names = [variant.method for variant in experiment.variants.values()]
    names += _methods_of(experiment, root, listed)
    overrides = [
        *experiment.override.values(),
        *(variant.override for variant in experiment.variants.values()),
        *(change.override for change in changes.given),
    ]
    seen: set[str] = set()
    names += [start for layer in overrides if (start := _at(layer, "bench", "warm_start"))]
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            layers = read_layers(METHODS, name)
            names += [start for layer in layers if (start := _at(layer, "bench", "warm_start"))]
    return ConfigFolder(root, listed, contents)


def _at(content: Any, *keys: str) -> str | None:
    """The text under nested keys of a file that is not checked yet; None where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, str) else None
