"""A table that answers one question, as data: `text`, `github` and `latex` write it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Head:
    """A column.

    Args:
        text: Its heading; empty for none.
        kind: `words` are broken where a terminal is too narrow, `figures` are not.
        drop: Columns that a narrow terminal does without, the highest number first; 0 always stays.
        printed: Whether it belongs into a paper.
    """

    text: str
    kind: Literal["words", "figures"] = "figures"
    drop: int = 0
    printed: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell.

    Args:
        text: What it says.
        mean: Of a score, percent.
        std: Its sample standard deviation over random seeds, in points; None for one run.
        place: 1 for the best and 2 for the second among the scores of its column that compete with it; 0 for
            all others.
    """

    text: str = ""
    mean: float | None = None
    std: float | None = None
    place: int = 0


@dataclass(frozen=True)
class Line:
    """A line.

    Args:
        cells: One for each column.
        block: What those that compete with each other have in common, in words.
    """

    cells: tuple[Cell, ...]
    block: str = ""


@dataclass(frozen=True)
class Group:
    """Lines below a title of their own."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        name: What it shows, as a file or a label is named: `mini-seed`.
        question: The question that it answers.
        basis: How its figures were measured, in lines.
        heads: Its columns.
        groups: Its lines.
        protocols: Protocol ids of its scores, without the values of thresholds.
    """

    name: str
    question: str
    basis: str
    heads: tuple[Head, ...]
    groups: tuple[Group, ...]
    protocols: tuple[str, ...] = field(default=())

    @property
    def lines(self) -> list[Line]:
        """All lines."""
        return [line for group in self.groups for line in group.lines]

    def column(self, index: int) -> list[Cell]:
        """The cells of a column."""
        return [line.cells[index] for line in self.lines]

    def with_columns(self, kept: list[int]) -> Table:
        """The table with some of its columns."""
        groups = tuple(
            replace(
                group,
                lines=tuple(
                    replace(line, cells=tuple(line.cells[index] for index in kept)) for line in group.lines
                ),
            )
            for group in self.groups
        )
        return replace(self, heads=tuple(self.heads[index] for index in kept), groups=groups)

    def without_empty_columns(self) -> Table:
        """The table without columns that say nothing."""
        said = [any(cell.text.strip(" -") for cell in self.column(index)) for index in range(len(self.heads))]
        return self.with_columns([index for index, one in enumerate(said) if one])
