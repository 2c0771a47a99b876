"""Reads the YAML files of an experiment from disk, each one once. The plan is then computed from memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsss_bench.plan.accepted import accepted
from wsss_bench.plan.changes import Changes, read_changes
from wsss_bench.plan.config import Experiment, MethodFile
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
from wsss_bench.plan.search_path import (
    config_folders,
    find_experiment,
    hides_shipped,
    list_configs,
    python_file,
)
from wsss_bench.plan.yaml_files import merge, read_yaml


@dataclass(frozen=True)
class ExperimentFiles:
    """An experiment and all configuration files that it can need, in memory.

    Args:
        name: Name of the experiment: the stem of its file, and the methods that were chosen from outside.
        file: The experiment's file.
        experiment: What the file holds.
        configs: The other files.
        notes: Which files were read in place of others, in sentences for the user.
        changes: What is changed for this run.
    """

    name: str
    file: Path
    experiment: Experiment
    configs: ConfigFolder
    notes: tuple[str, ...]
    changes: Changes

    @property
    def trainer(self) -> dict[str, Any]:
        """Arguments of the trainer that the experiment runs with."""
        return self.configs.trainer(self.experiment.trainer)


def read_files(
    experiment: Path,
    configs: Path | None = None,
    methods: Sequence[str] | None = None,
    changes: Sequence[str] = (),
) -> ExperimentFiles:
    """Read an experiment and the files that it can need.

    Args:
        experiment: Path or name of the experiment (`search_path.find_experiment`).
        configs: The own folder of configurations (`search_path.config_folders`).
        methods: Names of methods that stand in place of the experiment's rows.
        changes: The options `--set`.

    Raises:
        ConfigError: a file that is not YAML, an experiment that is not valid, or a change of no row. The
            other files are checked when they are used.
    """
    file = find_experiment(experiment)
    content, name = read_experiment(file), file.stem
    if methods is not None:
        content, name = with_methods(content, methods), "-".join([name, *methods])
    folders = config_folders(file, configs)
    rows = [*_methods_of(content, _list(folders)), *content.variants]
    changed = read_changes(changes, rows)
    if changed.given:  # another experiment, whose table has a folder of its own
        name = f"{name}-set-{changed.digest}"
    folder = _read_needed(folders, content, changed)
    notes = folder.notes()
    if folder.root.is_dir() and not any(folder.root in path.parents for path in folder.listed.values()):
        notes.append(f"{folder.root} has no file such as methods/<name>.yaml; only shipped ones are read")
    if hides_shipped(experiment, file):
        notes.append(f"the experiment is {file}, in place of the shipped one of this name")
    return ExperimentFiles(name, file, content, folder, tuple(notes), changed)


def read_configs(*folders: Path) -> ConfigFolder:
    """Read all files of `configs` folders; in the first one are those that win."""
    empty = _list(folders)
    return replace(empty, contents={key: _read_config(key, path) for key, path in empty.listed.items()})


def with_methods(experiment: Experiment, methods: Sequence[str]) -> Experiment:
    """The experiment with these methods as its rows, with what it overrides of them.

    Raises:
        ConfigError: no method is given, or one twice.
    """
    if not methods or "" in methods or len(set(methods)) < len(methods):
        raise ConfigError(
            f"--methods: expected names of methods, each once, such as cam,foo; got {','.join(methods)!r}"
        )
    override = {name: values for name, values in experiment.override.items() if name in methods}
    return replace(experiment, methods=list(methods), variants={}, override=override)


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


def read_method(file: Path, overlay: Path, trainer: dict[str, Any]) -> MethodFile:
    """A method that need not be in a `configs` folder: its file, the overlay if that exists, and `trainer`.

    Raises:
        ConfigError: a file that is not valid.
    """
    kind = f"configs/{METHODS}"
    layers = [_read_current(path, kind) for path in (file, overlay) if path == file or path.is_file()]
    files = f"{file} with {overlay.name}" if len(layers) > 1 else str(file)
    return read_as(MethodFile, merge(*layers, {"trainer": trainer}), files)


def _read_config(key: str, path: Path) -> dict[str, Any]:
    return _read_current(path, f"configs/{key.partition('/')[0]}")


def _read_current(path: Path, kind: str) -> dict[str, Any]:
    return accepted(read_yaml(path), str(path), kind)


def _list(folders: Sequence[Path]) -> ConfigFolder:
    """The files of `configs` folders, unread."""
    listed: dict[str, Path] = {}
    hidden: dict[str, Path] = {}
    for folder in folders:
        for key, path in list_configs(folder).items():
            (hidden if key in listed else listed)[key] = path
    return ConfigFolder(folders[0], listed, hidden, {})


def _methods_of(experiment: Experiment, configs: ConfigFolder) -> Sequence[str]:
    return configs.methods() if experiment.methods == "*" else experiment.methods


def _read_needed(folders: Sequence[Path], experiment: Experiment, changes: Changes) -> ConfigFolder:
    """Read the files that `experiment` names, with their overlays and the methods that others start from.

    A name without a file is no error here: `ConfigFolder` raises one, with the names that exist.
    """
    empty = _list(folders)
    contents: dict[str, dict[str, Any]] = {}

    def read(keys: Iterable[str]) -> list[dict[str, Any]]:
        wanted = {key: empty.listed[key] for key in keys if key in empty.listed}
        contents.update({key: _read_config(key, path) for key, path in wanted.items() if key not in contents})
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
    names += _methods_of(experiment, empty)
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
            _refuse_without_yaml(name, empty)
            layers = read_layers(METHODS, name)
            names += [start for layer in layers if (start := _at(layer, "bench", "warm_start"))]
    return replace(empty, contents=contents)


def _refuse_without_yaml(method: str, configs: ConfigFolder) -> None:
    """Refuse a method that has a Python file and no YAML file; one that has neither is refused elsewhere."""
    if method in configs.methods() or (file := python_file(method, configs.root)) is None:
        return
    raise ConfigError(
        f"{configs.path(METHODS, method)} does not exist, but {file} does: a method is found by its YAML "
        "file. Write it, with model.class_path and bench as docs/add_a_method.md says; "
        "`wsss-bench new-method NAME` writes both files of a method as an example"
    )


def _at(content: Any, *keys: str) -> str | None:
    """The text under nested keys of a file that is not checked yet; None where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, str) else None
