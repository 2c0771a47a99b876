"""Checks the configuration of a stage without building anything; `bench` does so before it starts."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from jsonargparse import ArgumentError

from wsss_bench.cli import COMMANDS


def check(command: str, config: dict[str, Any]) -> None:
    """Parse `config` as `wsss-bench <command> --config` would.

    Args:
        command: `fit`, `predict`, `refine` or `evaluate`; its module has a function `parse(config)`.
        config: Content of the stage's configuration file.

    Raises:
        ValueError: an unknown key, a wrong type or a missing value, with the message of the parser.
    """
    try:
        import_module(COMMANDS[command][0]).parse(config)
    except (ArgumentError, TypeError, SystemExit) as error:
        raise ValueError(f"{command}: {error}") from error
