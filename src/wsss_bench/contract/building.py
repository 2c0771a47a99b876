"""Builds the method under test. What its author can mend is one sentence."""

from __future__ import annotations

import inspect
import traceback
from importlib import import_module
from typing import Any

from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.errors import explain
from wsss_bench.methods.base import Method
from wsss_bench.own_modules import admit
from wsss_bench.stages.fit import FitCLI


def import_method(class_path: str) -> type[Method]:
    """The class of a method.

    Raises:
        ValueError: its file does not import, or it is no method that can be built.
    """
    module_name, _, name = class_path.rpartition(".")
    admit({"class_path": class_path})
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if module_name == error.name or module_name.startswith(f"{error.name}."):
            raise ValueError(
                f"class_path {class_path}: there is no module {error.name}; run in the folder of its file, "
                "install it, or name its folder in PYTHONPATH"
            ) from error
        raise ValueError(f"class_path {class_path} cannot be imported: {place_of(error)}") from error
    except Exception as error:  # of the method's own file
        raise ValueError(f"class_path {class_path} cannot be imported: {place_of(error)}") from error
    kind = getattr(module, name, None)
    if kind is None:
        raise ValueError(f"class_path {class_path}: {module.__file__} has no {name}; name a class in it")
    if not (inspect.isclass(kind) and issubclass(kind, Method)):
        raise ValueError(
            f"class_path {class_path} is no method; derive it from wsss_bench.methods.base.Method"
        )
    if inspect.isabstract(kind):
        raise ValueError(
            f"class_path {class_path} is abstract; define {', '.join(sorted(kind.__abstractmethods__))}"
        )
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

    def construct(kind: type[Method], **arguments: Any) -> Method:
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
    message = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_of_a_library(frame.filename)] or frames
    return f"{own[-1].filename}, line {own[-1].lineno}: {message}" if own else message


def _is_of_a_library(file: str) -> bool:
    return "site-packages" in file or file.startswith("<frozen")
