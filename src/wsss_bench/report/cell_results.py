"""The results of a cell (a row of the table, a data set, a random seed) by short names, as W&B shows them.

Scores are in percent. No name holds a threshold or a number of images, so that the names of all methods are
the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wsss_bench.artifacts.metrics import ScoredRow, score_name
from wsss_bench.plan.config import Protocol
from wsss_bench.plan.matrix import Cell
from wsss_bench.report.results import ProductResult


@dataclass(frozen=True)
class CellResults:
    """The products of a cell that have a score.

    Args:
        cell: The cell.
        protocol: Of its data set.
        products: In table order.
    """

    cell: Cell
    protocol: Protocol
    products: tuple[ProductResult, ...]

    def scores(self) -> dict[str, ScoredRow]:
        """Scores by name: `seed_fixed`, `refined_irn`, `val/ss_raw`; of the first split also as `ss_raw`."""
        found: dict[str, ScoredRow] = {}
        for product in self.products:
            kind, split = product.product.kind, product.product.split
            for scored in product.rows:
                name = score_name(kind, scored.row, product.product.refiner)
                if kind != "segmentation" or split == self.protocol.eval_splits[0]:
                    found[name] = scored.row
                if kind == "segmentation":
                    found[f"{split}/{name}"] = scored.row
        return found

    def summary(self) -> dict[str, float]:
        """`miou/<score>`, `bg_fp/<score>` and `bg_fn/<score>` of the scores that rank, `cost/<what>`.

        `bg_fp` and `bg_fn` alone are those of the seeds at the fixed threshold, or of `ss_raw` without seeds.
        """
        scores = self.scores()
        values = {f"miou/{name}": _percent(row.miou) for name, row in scores.items()}
        ranking = {name: row for name, row in scores.items() if row.headline}
        main = next((name for name in ("seed_fixed", "ss_raw") if name in ranking), None)
        for name, row in ranking.items():
            rates = {"bg_fp": row.false_positive_background, "bg_fn": row.false_negative_background}
            for key, rate in rates.items():
                values[f"{key}/{name}"] = _percent(rate)
                if name == main:
                    values[key] = _percent(rate)
        values |= {f"cost/{name}": value for name, value in self._costs().items()}
        return {name: value for name, value in values.items() if value is not None}

    def iou_of_classes(self) -> list[tuple[str, str, float | None]]:
        """Score, class and IoU in percent, background first."""
        names = next((("background", *product.class_names) for product in self.products), ())
        return [
            (score, name, _percent(value))
            for score, row in self.scores().items()
            for name, value in zip(names, row.iou, strict=True)
        ]

    def threshold_curve(self) -> list[tuple[float, float]]:
        """Background threshold, and mIoU of the seeds in percent; empty without seeds."""
        curve = next((product.curve for product in self.products if product.curve), None)
        if curve is None:
            return []
        return [(t, 100.0 * miou) for t, miou in zip(curve["threshold"], curve["miou"], strict=True)]

    @property
    def last(self) -> ProductResult:
        """What the cell leads to: its segmentation of the first split, or its seeds."""
        return self._find("segmentation") or self._find("seed") or self.products[-1]

    def _find(self, kind: str) -> ProductResult | None:
        splits = {"seed": self.protocol.train_split, "segmentation": (self.protocol.eval_splits or [""])[0]}
        return next(
            (p for p in self.products if (p.product.kind, p.product.split) == (kind, splits[kind])), None
        )

    def _costs(self) -> dict[str, float | None]:
        """What the table of costs has: seconds of each step and of all, parameters, memory."""
        seed, segmentation = self._find("seed"), self._find("segmentation")
        main = [one.cost for one in (seed, segmentation) if one is not None]
        steps: dict[str, tuple[ProductResult | None, tuple[str, ...]]] = {
            "train": (seed or segmentation, ("train",)),
            "seed": (seed, ("seed",)),
            "segment": (segmentation, ("segment",)),
            "predict": (segmentation, ("predict",)),
            "crf": (segmentation, ("crf",)),
        }
        for one in self.products:
            if one.product.kind == "pseudo_mask":
                steps[str(one.product.refiner)] = (one, ("refine", "affinity"))
        return {
            **{
                f"{step}_seconds": one.cost.seconds_of(kinds)
                for step, (one, kinds) in steps.items()
                if one is not None
            },
            "total_seconds": main[-1].seconds if main else None,
            "params": next((cost.params for cost in main if cost.params is not None), None),
            "peak_memory_mb": max((c.peak_memory_mb for c in main if c.peak_memory_mb), default=None),
        }


def by_cell(results: Iterable[ProductResult], protocols: dict[str, Protocol]) -> list[CellResults]:
    """The results by cell; cells without any score are left out.

    Args:
        results: The products of a plan.
        protocols: Of the data sets, by name.
    """
    found: dict[tuple[str, str, int], list[ProductResult]] = {}
    for result in results:
        cell = result.product.cell
        if result.rows:
            found.setdefault((cell.row, cell.dataset, cell.random_seed), []).append(result)
    return [
        CellResults(products[0].product.cell, protocols[dataset], tuple(products))
        for (_, dataset, _), products in found.items()
    ]


def _percent(share: Any) -> float | None:
    return None if share is None else 100.0 * share
