"""What code a checkpoint may name: it is data, perhaps from a stranger, and must not choose what runs.

A checkpoint names the class of its method, and its hyper-parameters may name classes and functions, which the
parser imports and calls with arguments of the checkpoint. Admitted are this package, `torch.nn`, and modules
that the caller names.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

ADMITTED = ("wsss_bench", "torch.nn")
"""Packages whose classes any checkpoint may name."""
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def refuse_foreign(content: Any, modules: Sequence[str], path: Path) -> None:
    """Check that hyper-parameters name only code that is admitted. Nothing else is imported for this.

    A text with dots counts as a name of code if it begins with a module that could be imported.

    Args:
        content: Hyper-parameters in JSON types.
        modules: Modules that are admitted besides `ADMITTED`, with what is below them.
        path: The checkpoint, for the message.

    Raises:
        ValueError: they name other code.
    """
    for name in _import_paths(content):
        if is_admitted(name, modules):
            try:
                found = resolve_name(name)
            except (ImportError, AttributeError):  # the parser says it better
                continue
            # a module also holds what it has imported from elsewhere
            home = str(getattr(found, "__module__", None) or getattr(found, "__name__", ""))
            if is_admitted(home, modules):
                continue
            name = f"{home}.{getattr(found, '__name__', name)}"
        elif not _can_be_imported(name.partition(".")[0]):
            continue
        raise foreign(name, path)


def is_admitted(name: str, modules: Sequence[str]) -> bool:
    """Whether a module, class or function is of `ADMITTED` or of `modules`, by its import path."""
    return any(f"{name}.".startswith(f"{module}.") for module in (*ADMITTED, *modules))


def foreign(name: str, path: Path) -> ValueError:
    """The error for a checkpoint that names code which nobody admitted."""
    root = name.partition(".")[0]
    return ValueError(
        f"checkpoint {path} names {name}, which is code of neither this package nor the caller; if you trust "
        f"{root}, name it: modules=[{root!r}] of wsss_bench.load, --modules {root} on the command line"
    )


def _can_be_imported(root: str) -> bool:
    return root in sys.modules or find_spec(root) is not None


def _import_paths(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        content = [*content.values()]
    if isinstance(content, list):
        for value in content:
            yield from _import_paths(value)
    elif isinstance(content, str) and IMPORT_PATH.fullmatch(content):
        yield content
