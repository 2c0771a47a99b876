"""Trainer settings with which a stage would look complete without being so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from wsss_bench.plan.plan import Stage
from wsss_bench.plan.schema import ConfigError

TRIALS = ("fast_dev_run", "limit_predict_batches")
"""Settings with which a stage writes no checkpoint, or not all files."""
SHORTER = ("limit_train_batches", "overfit_batches", "max_time")
"""Settings with which a training sees less than its schedule says."""


def short_trainings(stages: Iterable[Stage]) -> Iterator[str]:
    """Notes on stages that train on less than their configuration seems to say.

    Raises:
        ConfigError: a stage that cannot complete.
    """
    found: dict[str, list[str]] = {}
    for stage in stages:
        trainer: dict[str, Any] = stage.config.get("trainer") or {}
        for key in TRIALS:
            if _is_set(key, trainer.get(key)):
                raise ConfigError(
                    f"{stage.name}: trainer.{key}: {trainer[key]!r} is for trials; a stage with it would "
                    "have no checkpoint or not all files. Remove it from the YAML files of the experiment"
                )
        for key in SHORTER if stage.command == "fit" else ():
            if _is_set(key, trainer.get(key)):
                found.setdefault(f"trainer.{key}: {trainer[key]!r}", []).append(stage.title)
    for setting, titles in found.items():
        yield (
            f"SHORT TRAINING: {setting} in {', '.join(dict.fromkeys(titles))}; their scores are of a "
            "trial and not of the method"
        )


def _is_set(key: str, value: Any) -> bool:
    """Whether a setting changes anything: of batches, 1.0 is all, 1 is one and 0 is none."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if value == 0:
        return key.startswith("limit_")
    return value != 1.0 or isinstance(value, int)
