"""The cells of an experiment: every row (method or variant) on every data set with every random seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from wsss_bench.plan.config import MethodFile, Variant
from wsss_bench.plan.config_folder import METHODS
from wsss_bench.plan.reader import ExperimentFiles
from wsss_bench.plan.schema import ConfigError, nearest


@dataclass(frozen=True)
class Cell:
    """One run of the matrix.

    Args:
        row: Name in the table: of the method or of the variant.
        method: Name of the method's file.
        dataset: Name of the data set's file.
        random_seed: Seed of all random generators.
        content: The method's file, merged with its overlay and all overrides.
        file: The method's file, for messages.
        changes: What `--set` changes in this row, in words.
    """

    row: str
    method: str
    dataset: str
    random_seed: int
    content: MethodFile
    file: Path
    changes: str = ""

    @property
    def is_variant(self) -> bool:
        """Whether the row is an ablation or was changed, so that published results do not apply to it."""
        return self.row != self.method or bool(self.changes)


def expand(files: ExperimentFiles) -> list[Cell]:
    """All cells of an experiment in table order.

    A method without training is deterministic, so it runs with the first random seed only, unless networks
    are trained on its seeds.

    Raises:
        ConfigError: an override or a variant that does not fit a method.
    """
    experiment, configs, file, trainer = files.experiment, files.configs, files.file, files.trainer
    methods = configs.methods() if experiment.methods == "*" else list(experiment.methods)
    rows = {name: Variant(name) for name in methods}
    for name, variant in experiment.variants.items():
        if name in rows:
            raise ConfigError(
                f"{file}: variants.{name}: a method has this name; give the variant one of its own"
            )
        _check_override(variant.override, file, f"variants.{name}.override")
        rows[name] = variant
    for name, override in experiment.override.items():
        used = sorted({variant.method for variant in rows.values()})
        if name not in used:
            raise ConfigError(
                f"{file}: override.{name}: not a method of this experiment; {nearest(name, used)}"
            )
        _check_override(override, file, f"override.{name}")
    _check_changes(files, rows)
    cells = []
    for dataset in experiment.data:
        for row, variant in rows.items():
            content = configs.method(variant.method, dataset, trainer, *overrides_of(files, row, variant))
            path = configs.path(METHODS, variant.method)
            is_random = content.bench.trains or content.bench.pipeline == "multi_stage"
            random_seeds = experiment.random_seeds if is_random else experiment.random_seeds[:1]
            cells += [
                Cell(row, variant.method, dataset, random_seed, content, path, files.changes.in_words(row))
                for random_seed in random_seeds
            ]
    return cells


def overrides_of(files: ExperimentFiles, row: str, variant: Variant) -> list[dict[str, Any]]:
    """What is changed in the files of the method of a row; later ones win."""
    override = files.experiment.override.get(variant.method, {})
    return [override, variant.override, files.changes.of(row)]


def _check_changes(files: ExperimentFiles, rows: Mapping[str, Variant]) -> None:
    """Check that the changes are of keys that a method file has; those below are checked with the method.

    Raises:
        ConfigError: with the keys that end alike, as they are in the methods.
    """
    known = [field.name for field in fields(MethodFile)]
    for change in files.changes.given:
        parts = change.key.split(".")
        if parts[0] in known and (len(parts) > 1 or isinstance(change.value, dict)):
            continue
        keys: list[str] = []
        for row, variant in rows.items():
            if change.rows is None or row in change.rows:
                content = files.configs.method(variant.method, files.experiment.data[0], files.trainer)
                keys += [key for key in _dotted(asdict(content)) if key.split(".")[-1] == parts[-1]]
        meant = " or ".join(dict.fromkeys(keys))
        raise ConfigError(
            f"--set {change.key}: expected a key below {', '.join(known)}"
            + (f"; did you mean {meant}?" if meant and meant != change.key else "")
        )


def _dotted(content: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """The keys of nested mappings, joined by dots."""
    for key, value in content.items():
        yield f"{place}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{place}{key}.")


def _check_override(override: dict[str, Any], file: Path, key: str) -> None:
    known = [field.name for field in fields(MethodFile)]
    for name, value in override.items():
        if name not in known:
            raise ConfigError(f"{file}: {key}.{name}: unknown key; {nearest(name, known)}")
        if not isinstance(value, dict):
            raise ConfigError(
                f"{file}: {key}.{name}: expected a mapping; got {value!r} ({type(value).__name__})"
            )
