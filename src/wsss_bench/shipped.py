"""The configurations and experiments that come with the package.

In a checkout they are the folders `configs` and `experiments` at its top, to which two links in the package
lead. Setuptools follows the links, so that a wheel holds the files themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CONFIGS = (PACKAGE / "configs").resolve()
EXPERIMENTS = (PACKAGE / "experiments").resolve()


def with_shipped_configs(arguments: Iterable[str]) -> list[str]:
    """A command line whose `--config configs/...` is the shipped file if the user has none of that path."""
    words: list[str] = []
    for word in arguments:
        option, equals, value = word.partition("=")
        if equals and option == "--config":
            words.append(f"{option}={_own_or_shipped(value)}")
        else:
            words.append(_own_or_shipped(word) if words[-1:] == ["--config"] else word)
    return words


def _own_or_shipped(file: str) -> str:
    path = Path(file)
    if path.exists() or path.parts[:1] != (CONFIGS.name,):
        return file
    shipped = CONFIGS.joinpath(*path.parts[1:])
    return str(shipped) if shipped.is_file() else file
