"""Class names in label order, and prompt templates: the YAML files of this folder."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

import yaml

TEMPLATES = "templates"
"""Name of the file with prompt templates; all other files are vocabularies."""


def load(name: str) -> tuple[str, ...]:
    """Class names of a vocabulary in label order: class `c` is mask value `c + 1`.

    Raises:
        ValueError: no such vocabulary.

    Examples:
        >>> load("voc")[:3]
        ('aeroplane', 'bicycle', 'bird')
    """
    return tuple(_vocabulary(name)["classes"])


def templates(name: str) -> tuple[str, ...]:
    """A list of prompt templates; `{}` in each stands for the class name.

    Raises:
        ValueError: no such list.

    Examples:
        >>> templates("subset_7")[:2]
        ('itap of a {}.', 'a bad photo of a {}.')
    """
    lists = read(TEMPLATES)
    if name not in lists:
        raise ValueError(f"no prompt templates {name!r}; known: {', '.join(sorted(lists))}")
    return tuple(lists[name])


def nouns(name: str) -> tuple[str, ...]:
    """Nouns of the captions of a data set, in the singular.

    Raises:
        ValueError: no such vocabulary, or one without nouns.
    """
    listed = _vocabulary(name).get("nouns")
    if not listed:
        raise ValueError(f"vocabulary {name!r} lists no nouns; add the key `nouns` to its file")
    return tuple(listed)


def _vocabulary(name: str) -> dict[str, Any]:
    files = resources.files(__name__).iterdir()
    known = sorted({file.name[:-5] for file in files if file.name.endswith(".yaml")} - {TEMPLATES})
    if name not in known:
        raise ValueError(
            f"no vocabulary {name!r}; known: {', '.join(known)}. "
            "Own classes are given by the path of a list, such as own/classes.txt"
        )
    return read(name)


@lru_cache
def read(name: str, package: str = __name__) -> dict[str, Any]:
    """Content of `<name>.yaml` in the folder of a package, by default this one."""
    return yaml.safe_load(resources.files(package).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
