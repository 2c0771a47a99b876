"""Builds the method under test. What its author can mend is one sentence."""

from __future__ import annotations

from typing import Any

from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.errors import explain
from wsss_bench.methods.base import Method
from wsss_bench.own_modules import import_subclass, origin
from wsss_bench.stages.fit import FitCLI


def import_method(class_path: str) -> type[Method]:
    """The class of a method.

    Raises:
        ValueError: its file does not import, or it is no method that can be built.
    """
    kind = import_subclass(class_path, Method, "method")
    for needed in ("supervision", "batch_type"):
        if not hasattr(kind, needed):
            raise ValueError(f"class_path {class_path} does not set {needed}; see docs/add_a_method.md")
    return kind


def build(config: dict[str, Any]) -> tuple[Method, WSSSDataModule]:
    """Method and data module of a train stage.

    Raises:
        ValueError: the configuration does not fit the class, or its constructor fails.
    """
    class_path = config["model"]["class_path"]
    import_method(class_path)
    raised: list[Exception] = []

    def construct(kind: type[Method], /, **arguments: Any) -> Method:
        try:
            return kind(**arguments)
        except Exception as error:  # the parser would wrap it
            raised.append(error)
            raise

    try:
        cli = FitCLI(config, instantiators={Method: construct})
    except Exception as error:
        found = raised[0] if raised else error
        raise ValueError(f"{class_path} cannot be built: {explain(found) or place_of(found)}") from error
    return cli.model, cli.datamodule


def place_of(error: BaseException) -> str:
    """An error of a method's own code in one line, with the innermost place that is in no library."""
    file, line = origin(error)
    return f"{file}, line {line}: {type(error).__name__}: {' '.join(str(error).split())}"
