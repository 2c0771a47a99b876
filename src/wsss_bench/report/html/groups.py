"""The scores that belong into one figure: one product of one split, a row for each method."""

from __future__ import annotations

from dataclasses import dataclass

from wsss_bench.plan.plan import Plan
from wsss_bench.report.leaderboard import Leaderboard, Row

PRODUCTS = {"segmentation": "segmentation", "seed": "seeds", "pseudo_mask": "pseudo masks"}
"""Products in the words of the page and in its order."""


@dataclass(frozen=True)
class Group:
    """Rows under one protocol each that show the same product.

    Args:
        title: `seeds of train`, `irn masks of train`, `segmentation of val`; with the data set if there are
            several.
        dataset: Data set.
        rows: One for each method, in the order of the plan.
        others: Rows of the same product with other read-outs.
    """

    title: str
    dataset: str
    rows: tuple[Row, ...]
    others: tuple[Row, ...]

    def with_all_rules(self, row: Row) -> list[Row]:
        """A row of seeds, and those of its method under the other threshold rules."""
        return [row, *(other for other in self.others if other.method == row.method)]


def scored_datasets(plan: Plan) -> list[str]:
    """The data sets of a plan, without those that are only trained on."""
    return list(dict.fromkeys(product.cell.dataset for product in plan.products))


def groups_of(plan: Plan, board: Leaderboard) -> list[Group]:
    """The groups of all scores with one read-out for each method, in the order of the plan."""
    members: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in board.rows:
        refiner = row.refiner if row.product == "pseudo_mask" else None
        members.setdefault((row.dataset, row.product, row.split, refiner or ""), []).append(row)
    kinds, datasets = list(PRODUCTS), scored_datasets(plan)
    ordered = sorted(members, key=lambda key: (datasets.index(key[0]), kinds.index(key[1])))
    return [
        Group(
            _title(*key, several=len(datasets) > 1),
            key[0],
            tuple(row for row in members[key] if row.headline),
            tuple(row for row in members[key] if not row.headline),
        )
        for key in ordered
    ]


def _title(dataset: str, product: str, split: str, refiner: str, *, several: bool) -> str:
    what = f"{refiner} masks" if refiner else PRODUCTS[product]
    return (f"{dataset}: " if several else "") + f"{what} of {split}"
