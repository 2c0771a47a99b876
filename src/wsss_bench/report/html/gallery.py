"""What the page shows of a split: which images, and the masks of which stages. Reads no picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_bench.plan.plan import Plan, ScoredProduct, Stage
from wsss_bench.report.html.choice import Chosen, Scores, choose, image_scores
from wsss_bench.report.html.groups import scored_datasets
from wsss_bench.report.leaderboard import Leaderboard, Row
from wsss_bench.report.results import reason_in_words

SEED, SEGMENTATION = "seed", "segmentation"
"""Columns of the pictures; the others have the names of refiners."""
TRAINING = (SEED, "pseudo_mask")
"""Products of the training split."""
Place = tuple[str, str]
"""Method and column."""


@dataclass(frozen=True)
class Result:
    """The masks or the seeds of a method, of its first run that is done.

    Args:
        stage: The stage folder that has them.
        readout: Scales and post-processing.
        threshold: Fixed background threshold of seeds; None for masks.
        scores: mIoU of each image; empty where it is not known.
    """

    stage: Path
    readout: tuple[str, str]
    threshold: float | None
    scores: Scores


@dataclass(frozen=True)
class Gallery:
    """The pictures of one split.

    Args:
        title: Split and what is shown of it.
        source: Class and arguments of the source of images and truth.
        methods: Methods, in the order of the plan.
        columns: Columns of masks, in the order of the plan.
        results: What is shown.
        missing: Why something is not.
        chosen: The images.
    """

    title: str
    source: dict[str, Any]
    methods: list[str]
    columns: list[str]
    results: dict[Place, Result]
    missing: dict[Place, str]
    chosen: list[Chosen]


def galleries_of(plan: Plan, board: Leaderboard) -> Iterator[Gallery]:
    """The training split and the first evaluation split of each data set, where something is scored."""
    datasets = scored_datasets(plan)
    for name in datasets:
        protocol = plan.datasets[name].protocol
        prefix = f"{name}: " if len(datasets) > 1 else ""
        for split, kinds, words in (
            (protocol.train_split, TRAINING, "seeds and pseudo masks"),
            (protocol.eval_splits[0], (SEGMENTATION,), "segmentation"),
        ):
            place = (name, split)
            products = [p for p in plan.products if (p.cell.dataset, p.split) == place and p.kind in kinds]
            rows = [
                r for r in board.rows if r.headline and (r.dataset, r.split) == place and r.product in kinds
            ]
            if rows:
                yield _gallery(plan, board, f"{prefix}{split}: {words}", products, rows)


def _gallery(
    plan: Plan, board: Leaderboard, title: str, products: list[ScoredProduct], rows: list[Row]
) -> Gallery:
    stages = {stage.path: stage for stage in plan.stages.values()}
    results = {(row.method, _column(row.product, row.refiner)): _result(plan, stages, row) for row in rows}
    # images are chosen by what ranks: seeds on the training split, segmentation on the other
    scores = {
        method: result.scores
        for (method, column), result in results.items()
        if column in (SEED, SEGMENTATION) and result.scores
    }
    places = [(product.cell.row, _column(product.kind, product.refiner)) for product in products]
    if rows[0].product != SEGMENTATION:
        trained_on = _trained_on(plan, board, stages)
        results.update({place: trained_on[place] for place in places if place in trained_on.keys() - results})
    missing = {
        (one.product.cell.row, _column(one.product.kind, one.product.refiner)): reason_in_words(one.missing)
        for one in board.missing
        if one.product in products
    }
    return Gallery(
        title,
        stages[rows[0].runs[0].stages[-1]].config["source"],
        list(dict.fromkeys(method for method, _ in places)),
        list(dict.fromkeys(column for _, column in places)),
        results,
        missing,
        choose(scores, {row.method for row in rows if row.hints.reference}),
    )


def _column(product: str, refiner: str | None) -> str:
    return (refiner or product) if product == "pseudo_mask" else product


def _result(plan: Plan, stages: Mapping[Path, Stage], row: Row) -> Result:
    run = row.runs[0]
    inputs = stages[run.stages[-1]].inputs
    scored = plan.stages[inputs["seeds" if row.product == SEED else "masks"]].path
    scores = image_scores(run.confusions) if run.confusions is not None else {}
    return Result(scored, (row.scales, row.post), run.threshold, scores)


def _trained_on(plan: Plan, board: Leaderboard, stages: Mapping[Path, Stage]) -> dict[Place, Result]:
    """The masks that segmenters were trained on: those that hold undecided pixels have no score."""
    found = {}
    for row in board.rows:
        for path in row.runs[0].stages if row.product == SEGMENTATION and row.refiner else ():
            if stages[path].kind == "segment":
                masks = plan.stages[stages[path].inputs["masks"]].path
                place = (row.method, str(row.refiner))
                found[place] = Result(masks, ("", place[1]), None, {})
    return found
