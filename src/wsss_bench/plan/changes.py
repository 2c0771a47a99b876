"""Changes of an experiment for one run: `--set [ROW[,ROW...]:]KEY=VALUE`.

A change is one more override of a row, the last one, so that the stages that it concerns are other stages.
Without a row it applies to all rows, and to the trainings that they start from. A training that another row
starts from is changed as the row of its method is, if there is one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

from wsss_bench.plan.accepted import accepted
from wsss_bench.plan.schema import ConfigError, nearest
from wsss_bench.plan.yaml_files import merge, parse_value

FORM = "--set [ROW[,ROW...]:]KEY=VALUE, for instance --set cam:trainer.max_epochs=1"


@dataclass(frozen=True)
class Change:
    """One `--set`.

    Args:
        rows: The rows that it applies to; None for all of them.
        key: Key of a method file, with the keys that lead to it, joined by dots.
        value: Its value.
    """

    rows: frozenset[str] | None
    key: str
    value: Any

    @property
    def override(self) -> dict[str, Any]:
        """The change as nested mappings."""
        content = self.value
        for part in reversed(self.key.split(".")):
            content = {part: content}
        return content  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Changes:
    """All changes of a run, in the order in which they were given; later ones win."""

    given: tuple[Change, ...] = ()

    def of(self, row: str) -> dict[str, Any]:
        """What is changed in a row, or in a training that is no row, as an override."""
        return merge(*(change.override for change in self._of(row)))

    def in_words(self, row: str) -> str:
        """The same for people: `trainer.max_epochs=1, inference.flip=false`."""
        last = {change.key: change.value for change in self._of(row)}
        return ", ".join(f"{key}={_shown(value)}" for key, value in last.items())

    @property
    def digest(self) -> str:
        """Eight digits that tell these changes from others."""
        content = [[sorted(change.rows or []), change.key, change.value] for change in self.given]
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    def _of(self, row: str) -> list[Change]:
        return [change for change in self.given if change.rows is None or row in change.rows]


def read_changes(texts: Iterable[str], rows: Sequence[str]) -> Changes:
    """Read the values of the option `--set`.

    Args:
        texts: As they were given.
        rows: Names of all rows of the experiment.

    Raises:
        ConfigError: not of the form, no such row, or a value that is not YAML.
    """
    return Changes(tuple(_read(text, rows) for text in texts))


def _read(text: str, rows: Sequence[str]) -> Change:
    place = f"--set {text}"
    # a row may have any name, also one with `=` or `:`
    named = max((row for row in rows if text.startswith(f"{row}:")), key=len, default=None)
    head, equals, value = text.removeprefix(f"{named}:").partition("=")
    names, _, key = head.rpartition(":")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{place}: expected {FORM}")
    chosen = frozenset([named]) if named is not None and not names else _rows(names, rows, place)
    change = Change(chosen, key.strip(), parse_value(value, place))
    content = accepted(change.override, place, "configs/methods")
    for part in change.key.split("."):
        content = content[part]
    return replace(change, value=content)


def _rows(names: str, rows: Collection[str], place: str) -> frozenset[str] | None:
    """The rows that a list of names or patterns means; None for all."""
    chosen: set[str] = set()
    for name in filter(None, map(str.strip, names.split(","))):
        found = [row for row in rows if row == name or fnmatchcase(row, name)]
        if not found:
            raise ConfigError(f"{place}: {name!r} is no row of the experiment; {nearest(name, rows)}")
        chosen.update(found)
    return frozenset(chosen) or None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
