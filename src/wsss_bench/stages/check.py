"""Checks the configuration of a stage before the bench starts any."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from jsonargparse import ArgumentError

from wsss_bench.cli import COMMANDS
from wsss_bench.data.sources.base import Source
from wsss_bench.data.view_names import OwnView
from wsss_bench.errors import explain
from wsss_bench.methods.base import Method
from wsss_bench.own_modules import import_class
from wsss_bench.stages.claims import check_claims


def check(command: str, config: dict[str, Any]) -> None:
    """Parse `config` as `wsss-bench <command> --config` would, without building anything.

    Args:
        command: `fit`, `predict`, `crf`, `refine` or `evaluate`; its module has a function `parse(config)`.
        config: Content of the stage's configuration file.

    Raises:
        ValueError: an unknown key, a wrong type or a missing value, with the message of the parser.
    """
    try:
        import_module(COMMANDS[command][0]).parse(config)
    except (ArgumentError, TypeError, ValueError, SystemExit) as error:
        raise ValueError(f"{command}: {explain(error) or error}") from error


def check_class(config: dict[str, Any], bench: dict[str, Any], file: str) -> None:
    """Check that the class of a stage is what the file of its method says, without building it.

    Args:
        config: Content of the stage's configuration file, which was checked.
        bench: The `bench:` block of the method.
        file: The file, for messages.

    Raises:
        ValueError: they disagree (`claims.check_claims`).
    """
    kind: type[Method] = import_class(config["model"]["class_path"])
    view = config["data"].get("view", "image")
    if not isinstance(view, str):
        view = OwnView.from_plain(view)
    check_claims(kind, bench, view, file)


class TryOut:
    """Builds what stages need, one after another, and checks what can be known before they run.

    Sources are built once, and a method once for the stages that follow each other.
    """

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._methods: dict[str, Method] = {}

    def __call__(self, command: str, config: dict[str, Any]) -> None:
        """Check one stage.

        Args:
            command: As in `check`; the module of the command has a function `try_out`.
            config: Content of the stage's configuration file.

        Raises:
            Exception: whatever the stage would stop with.
        """
        import_module(COMMANDS[command][0]).try_out(config, {Source: self._source, Method: self._method})

    def _source(self, kind: type[Source], /, **arguments: Any) -> Source:
        key = f"{kind} {arguments}"
        if key not in self._sources:
            self._sources[key] = kind(**arguments)
        return self._sources[key]

    def _method(self, kind: type[Method], /, **arguments: Any) -> Method:
        key = f"{kind} {arguments}"
        if key not in self._methods:
            self._methods.clear()  # two large networks may not fit into memory
            self._methods[key] = kind(**arguments)
        return self._methods[key]
