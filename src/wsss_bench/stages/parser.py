"""Command-line parser of the stages without a trainer, plain functions: crf, refine and evaluate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from wsss_bench.artifacts.run import StageInfo
from wsss_bench.own_modules import import_classes
from wsss_bench.ranges import refuse_not_finite
from wsss_bench.renamed import given_contents, refuse_renamed
from wsss_bench.short_names import in_arguments, with_full_paths
from wsss_bench.stages.planned import only_file, planned_stage

Instantiators = Mapping[type, Callable[..., Any]]
"""Functions that build classes in place of their constructors, by base class."""
BY_HAND = StageInfo()
"""The option `stage` of a stage that was started by hand and not by a plan."""


class FunctionParser:
    """Options from the signature and the docstring of a function; `--config FILE` reads them from YAML.

    Args:
        function: The stage. Its keyword argument `resolved` gets the configuration in JSON types; all other
            arguments become options.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.parser = ArgumentParser(
            prog=f"wsss-bench {function.__name__}", exit_on_error=False, allow_abbrev=False
        )
        self.parser.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
        self.parser.add_function_arguments(function, skip={"resolved"}, sub_configs=True)

    def parse(self, config: dict[str, Any]) -> Namespace:
        """Parse the content of a configuration file without building anything."""
        return self.parser.parse_object(accept(config, self.function.__name__))

    def build(self, config: dict[str, Any], instantiators: Instantiators) -> Namespace:
        """Build the arguments of the function from the content of a configuration file."""
        for kind, instantiator in instantiators.items():
            self.parser.add_instantiator(instantiator, kind)
        return self.parser.instantiate(self.parse(config))

    def run(self, argv: list[str]) -> None:
        """Parse a command line and call the function.

        Raises:
            ValueError: the configuration is not the planned one.
        """
        self.function(**self.arguments(argv))

    def arguments(self, argv: list[str]) -> dict[str, Any]:
        """The arguments of the function from a command line.

        Raises:
            ValueError: the configuration is not the planned one.
        """
        config = self.parser.parse_args(accept(argv, self.function.__name__))
        resolved = self._plain(config)
        info = BY_HAND
        if resolved.get("out"):
            alone = only_file(argv, self.parser)
            info, _ = planned_stage(Path(resolved["out"]), resolved, self._resolve, alone)
        built: Namespace = self.parser.instantiate(config)
        return {**vars(built), "stage": info, "resolved": resolved}

    def _resolve(self, content: dict[str, Any]) -> dict[str, Any]:
        """What the content of a configuration file resolves to by itself."""
        return self._plain(self.parser.parse_object(content, env=False))

    def _plain(self, config: Namespace) -> dict[str, Any]:
        config.pop("config", None)
        return yaml.safe_load(self.parser.dump(config, skip_validation=True))


Given = TypeVar("Given", list[str], dict[str, Any])


def accept(given: Given, command: str = "") -> Given:
    """Refuse old names, numbers that are not finite and classes whose module does not import.

    Args:
        given: The content of a configuration file, or a command line with its YAML files.
        command: The command of the stage.

    Returns:
        The same with full class paths in the place of short names.

    Raises:
        ValueError: with the key.
    """
    refuse_renamed(given, command)
    for place, content in given_contents(given):
        refuse_not_finite(content, place)
        import_classes(content)
    return with_full_paths(given) if isinstance(given, dict) else in_arguments(given)
