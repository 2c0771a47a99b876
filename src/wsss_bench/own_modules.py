"""Own modules in the working directory: those that a configuration names are found, and no others.

Python itself searches the working directory before everything else in `python -m` and in the processes that
it starts, so that a file `torch.py` or `typing.py` there would run in place of the package. Here the working
directory comes last, and only for modules that a `class_path` names. Their own imports are found where Python
finds them: in the packages that are installed and in `PYTHONPATH`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
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


def _class_paths(content: Any, key: str = "") -> Iterator[str]:
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _class_paths(value, str(name))
    elif isinstance(content, list):
        for value in content:
            yield from _class_paths(value, key)
    elif isinstance(content, str) and key in NAMES_A_CLASS:
        yield content
