"""Which names a new method may have: its Python module, its YAML file and its row of the table bear it."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from wsss_bench.plan.schema import ConfigError

RESERVED = ("changed", "configs", "data", "experiments", "runs")
"""A word of `bench --again`, and the folders of a project, which a module would stand beside."""


def check_name(name: str, shipped: Sequence[str]) -> None:
    """Refuse a name that cannot be that of a new method.

    Args:
        name: The name.
        shipped: Names of the methods that come with the package.

    Raises:
        ConfigError: with what to choose instead.
    """
    if not (name.isidentifier() and name.isascii() and name.strip("_")) or keyword.iskeyword(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a Python module; choose letters, digits and underscores, "
            "such as my_cam"
        )
    if name.lower() in map(str.lower, shipped):
        raise ConfigError(
            f"there is a method {name!r} already, configs/methods/{name.lower()}.yaml; choose another name, "
            "begin from it with --like, or remove its files"
        )
    if name.lower() in RESERVED:
        raise ConfigError(f"{name!r} has a meaning of its own in a benchmark; choose another name")
    if name in sys.stdlib_module_names or find_spec(name) is not None:
        raise ConfigError(
            f"{name!r} is an installed Python module, which would be found in place of yours; "
            "choose another name"
        )


def class_name(name: str) -> str:
    """`my_cam` -> `MyCam`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
