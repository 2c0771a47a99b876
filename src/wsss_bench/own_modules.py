"""Own modules in the working directory: those that a configuration names are found, and no others.

Python itself searches the working directory before everything else in `python -m` and in the processes that
it starts, so that a file `torch.py` or `typing.py` there would run in place of the package. Here the working
directory comes last, and only for modules that a `class_path` names. Their own imports are found where Python
finds them: in the packages that are installed and in `PYTHONPATH`.
"""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

NAMES_A_CLASS = ("class_path", "model", "source", "refiner", "logger", "callbacks")
"""Keys whose text is the import path of a class."""


class WorkingDirectory(MetaPathFinder):
    """Finds modules and packages of given names in the working directory."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.folder = ""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or name not in self.names:  # with a path it is part of a package that was found
            return None
        return PathFinder.find_spec(name, [self.folder])


_finder = WorkingDirectory()


def admit(content: Any) -> None:
    """Let the modules be found that a configuration names, if no installed one has the name.

    Args:
        content: What a YAML file or an option holds.
    """
    _finder.names.update(class_path.partition(".")[0] for class_path in _class_paths(content))
    _finder.folder = os.getcwd()  # now: the parser changes it while it reads a file in another folder
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)


def import_classes(content: Any) -> None:
    """Import the modules of all classes that a configuration names by `class_path`.

    The parser would import them too, and say less about what is wrong. A module or class that does not exist
    is left to it.

    Args:
        content: What a YAML file or an option holds.

    Raises:
        ValueError: a module that is there and cannot be imported, with the line.
    """
    admit(content)
    for class_path in _class_paths(content, names=("class_path",)):
        module = class_path.rpartition(".")[0]
        if not module:
            continue
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if f"{module}.".startswith(f"{error.name}."):  # the module itself, or a package above it
                continue
            advice = "install it, or see docs/your_own_repository.md for own modules that import each other"
            raise ValueError(_import_problem(class_path, error, advice)) from error
        except (Exception, SystemExit) as error:
            raise ValueError(_import_problem(class_path, error, "correct this line")) from error


def import_class(class_path: str) -> type:
    """A class by its path.

    Raises:
        ValueError: its module is not there or cannot be imported, or has no such class.
    """
    import_classes({"class_path": class_path})
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{class_path} cannot be imported ({error}); name module and class, and install the module, put "
            "it into PYTHONPATH or run the command in its folder"
        ) from error
    if not isinstance(found, type):
        raise ValueError(f"{class_path} is no class; name one")
    return found


def import_subclass(class_path: str, base: type, word: str) -> type:
    """A class by its path that can be built and derives from a base.

    Args:
        class_path: Module and class.
        base: What the class must derive from.
        word: What such a class is, in a word for messages.

    Raises:
        ValueError: it cannot be imported, does not derive from `base`, or is abstract.
    """
    kind = import_class(class_path)
    if not issubclass(kind, base):
        raise ValueError(f"{class_path} is no {word}; derive it from {base.__module__}.{base.__name__}")
    if inspect.isabstract(kind):
        lacking = ", ".join(sorted(getattr(kind, "__abstractmethods__")))  # noqa: B009
        raise ValueError(f"{class_path} is abstract; define {lacking}")
    return kind


def _import_problem(class_path: str, error: BaseException, advice: str) -> str:
    """What went wrong when the module of a class was imported, and where."""
    file, line = origin(error)
    said = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{class_path} cannot be imported: {file}, line {line}: {type(error).__name__}: {said}; {advice}"


def origin(error: BaseException) -> tuple[str, int]:
    """File and line of an error: the innermost ones outside the standard library and installed packages."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 1
    frames = list(extract_tb(error.__traceback__))
    frames = frames[1:] or frames  # without the function that caught it
    own = [frame for frame in frames if not _is_foreign(frame.filename)]
    frame = (own or frames)[-1]
    return frame.filename, frame.lineno or 1


def _is_foreign(file: str) -> bool:
    installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
    return bool(installed) or file.startswith(("<frozen ", sysconfig.get_path("stdlib")))


def _class_paths(content: Any, key: str = "", names: Sequence[str] = NAMES_A_CLASS) -> Iterator[str]:
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _class_paths(value, str(name), names)
    elif isinstance(content, list):
        for value in content:
            yield from _class_paths(value, key, names)
    elif isinstance(content, str) and key in names:
        yield content
