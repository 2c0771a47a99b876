"""The part of a leaderboard that belongs to one data set: what its tables look up."""

from __future__ import annotations

from wsss_bench.plan.config import MethodHints, PublishedResult
from wsss_bench.plan.plan import Plan
from wsss_bench.report.leaderboard import Leaderboard, ProductKey, Row, extra_of


class DatasetResults:
    """Rows, gaps and methods of one data set.

    Args:
        plan: What was asked for.
        board: What is done.
        dataset: Name of the data set.
        commit: The commit that most rows were made from; methods with another one are marked.

    Attributes:
        protocol: Protocol of the data set.
        segmenter: Description of the segmenter of multi-stage methods, if there is one.
        rows: Rows of the leaderboard.
        hints: The `bench:` block of each method, in the order of the table.
        methods: Methods by product.
        refiners: Names of the refiners.
        pseudo_masks: The refiner on whose masks segmenters are trained, if there is one.
        published: Published results on the data set, by method; an ablation row has none.
        extras: What a method was given beyond the usual, as text, by method and product.
    """

    def __init__(self, plan: Plan, board: Leaderboard, dataset: str, commit: str) -> None:
        products = [product for product in plan.products if product.cell.dataset == dataset]
        self.dataset = dataset
        self.protocol = plan.datasets[dataset].protocol
        self.segmenter = plan.segmenters.get(dataset)
        self.rows = [row for row in board.rows if row.dataset == dataset]
        self.hints: dict[str, MethodHints] = {}
        self._changes: dict[str, str] = {}
        self.methods: dict[str, set[str]] = {}
        self.refiners = list(dict.fromkeys(product.refiner for product in products if product.refiner))
        trained_on = (product.refiner for product in products if product.kind == "segmentation")
        self.pseudo_masks = next(filter(None, trained_on), None)
        self.published: dict[str, list[PublishedResult]] = {}
        self.extras: dict[tuple[str, str], str] = {}
        self._gaps = {key: reason for key, reason in board.gaps.items() if key.dataset == dataset}
        self._commit = commit
        for product in products:
            method, hints = product.cell.row, product.cell.content.bench
            self.hints.setdefault(method, hints)
            self._changes[method] = product.cell.changes
            self.methods.setdefault(product.kind, set()).add(method)
            if not product.cell.is_variant:
                self.published[method] = [one for one in hints.paper if one.dataset == dataset]
            # all refiners share a row, so the extra of one of them cannot stand there
            extra = hints.extra if product.kind == "pseudo_mask" else extra_of(product)
            self.extras[method, product.kind] = " ".join(sorted(extra))

    def find(self, method: str, product: str, split: str, **values: str) -> Row | None:
        """The first row with these values in its fields (`scales="ss"`), or None."""
        return next(iter(self.find_all(method, product, split, **values)), None)

    def find_all(self, method: str, product: str, split: str, **values: str) -> list[Row]:
        """All rows with these values in their fields."""
        return [
            row
            for row in self.rows
            if (row.method, row.product, row.split) == (method, product, split)
            and all(getattr(row, name) == value for name, value in values.items())
        ]

    def headline(self, method: str, product: str, split: str) -> Row | None:
        """The row that ranks, or None."""
        rows = (row for row in self.rows if (row.method, row.product, row.split) == (method, product, split))
        return next((row for row in rows if row.headline), None)

    def gap(self, method: str, product: str, split: str, refiner: str | None = None) -> str | None:
        """Why a product has no score, or None; without a refiner, the first reason of any."""
        for key, reason in self._gaps.items():
            wanted = ProductKey(method, self.dataset, product, split, refiner or key.refiner)
            if key == wanted:
                return reason
        return None

    def title(self, method: str) -> str:
        """Name of a method with its role, its remark and what `--set` changed; `*` marks another commit."""
        ranking = [row for row in self.rows if row.method == method and row.headline]
        mark = "*" if any(row.commits != [self._commit] for row in ranking) else ""
        hints = self.hints[method]
        words = [word for word in (hints.reference, hints.remark, self._changes[method]) if word]
        return method + mark + (f" ({', '.join(words)})" if words else "")
