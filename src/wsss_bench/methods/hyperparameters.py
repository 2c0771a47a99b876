"""The arguments that a method was built with: kept in its `hparams` and, in plain JSON types, in checkpoints.

So a checkpoint can be read in the mode that runs no code, and says itself how its method is built.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from lightning.pytorch.core.mixins import HyperparametersMixin

Self = TypeVar("Self", bound="KeepsArguments")


class KeepsArguments(HyperparametersMixin):
    """Puts all arguments of the constructor, default values included, into Lightning's `hparams`.

    A method need not call `save_hyperparameters`.
    """

    def __new__(cls: type[Self], *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        with contextlib.suppress(TypeError):  # wrong arguments: the constructor says which
            bound = signature.bind_partial(self, *args, **kwargs)
            bound.apply_defaults()
            for name, value in list(bound.arguments.items())[1:]:
                named = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
                self.hparams.update(value if named else {name: value})
        return self


def plain_arguments(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Arguments in JSON types, and the names of those that have none (a network, a function)."""
    plain: dict[str, Any] = {}
    for name, value in arguments.items():
        with contextlib.suppress(TypeError):
            plain[name] = _plain(value)
    return plain, [name for name in arguments if name not in plain]


def _plain(value: Any) -> Any:
    """A value in JSON types: a configuration becomes the mapping that it has in YAML.

    Raises:
        TypeError: there is none.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.init}
    raise TypeError(f"{type(value).__name__} has no plain form")
