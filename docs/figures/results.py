"""The results that the tables and pictures of the docs are made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from wsss_bench.plan.config import MethodHints
from wsss_bench.plan.plan import Plan
from wsss_bench.plan.planner import make_plan
from wsss_bench.report.leaderboard import Leaderboard, Row, make_leaderboard
from wsss_bench.report.results import read_results


@dataclass(frozen=True)
class Shown:
    """A method as the docs name it.

    Args:
        title: In tables.
        paper: First author and year.
        link: Of the paper.
    """

    title: str
    paper: str
    link: str


METHODS = {
    name: Shown(**entry)
    for name, entry in yaml.safe_load(Path(__file__).with_name("methods.yaml").read_text()).items()
}
"""The methods of the docs, in the order of their tables."""


@dataclass(frozen=True)
class Results:
    """Plan and scores of an experiment."""

    plan: Plan
    board: Leaderboard

    @property
    def hints(self) -> dict[str, MethodHints]:
        """The `bench:` block of each method."""
        return {product.cell.row: product.cell.content.bench for product in self.plan.products}


def read(experiment: str, runs: Path, like: Plan | None = None) -> Results:
    """The results of an experiment.

    Args:
        experiment: Its file.
        runs: Folder of the results.
        like: A plan on the same data, for an experiment that was not run itself but whose stages were.

    Raises:
        ValueError: a score is missing, or rests on a stage that has changed since it ran.
    """
    plan = make_plan(Path(experiment), runs)
    if like is not None:
        plan = plan.with_data({read: digest for read, digest in like.data.items() if digest is not None})
    board = make_leaderboard(read_results(plan))
    if board.missing or not board.rows:
        raise ValueError(
            f"{len(board.missing)} results of {experiment} are missing in {runs}; run "
            f"`make bench EXPERIMENT={experiment}` first"
        )
    if stale := sorted({row.method for row in board.rows if row.is_stale}):
        raise ValueError(
            f"scores of {', '.join(stale)} rest on stages of {experiment} that have changed since they ran; "
            f"run `wsss-bench bench {experiment} --again changed` first"
        )
    return Results(plan, board)


def rows_of(found: Iterable[Results], split: str, **values: object) -> Iterator[Row]:
    """Rows of a split whose attributes have these values."""
    for results in found:
        for row in results.board.rows:
            if row.split == split and all(getattr(row, key) == value for key, value in values.items()):
                yield row
