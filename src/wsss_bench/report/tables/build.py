"""All tables of an experiment, and the notes that apply to them."""

from __future__ import annotations

from dataclasses import dataclass

from wsss_bench.plan.plan import Plan
from wsss_bench.report.leaderboard import Leaderboard
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.markdown.scores import Column
from wsss_bench.report.tables.cost import cost_table
from wsss_bench.report.tables.gains import gain_table
from wsss_bench.report.tables.notes import notes_of
from wsss_bench.report.tables.published import published_table
from wsss_bench.report.tables.scores import main_refiner, pseudo_mask_table, seed_table, segmentation_table
from wsss_bench.report.tables.table import Table


@dataclass(frozen=True)
class Summary:
    """What an experiment has found.

    Args:
        scores: The tables of seeds, pseudo masks and segmentation, of each data set.
        tables: All tables, in the order of the page.
        notes: What their signs mean, and what is missing.
    """

    scores: list[Table]
    tables: list[Table]
    notes: list[str]


def summarize_board(plan: Plan, board: Leaderboard) -> Summary:
    """The tables of what is done; none where nothing is scored yet."""
    commit = board.usual_commit
    scores: list[Table] = []
    tables: list[Table] = []
    for dataset in dict.fromkeys(product.cell.dataset for product in plan.products):
        results = DatasetResults(plan, board, dataset, commit)
        ranked = [make(results) for make in (seed_table, pseudo_mask_table, segmentation_table)]
        others = [
            gain_table(results, _gained(results)),
            published_table(results),
            cost_table(results, results.pseudo_masks or main_refiner(results)),
        ]
        scores += filter(None, ranked)
        tables += filter(None, [*ranked, *others])
    return Summary(scores, tables, notes_of(tables, board, commit))


def _gained(results: DatasetResults) -> list[Column]:
    """The scores that methods are ranked by."""
    train, refiner = results.protocol.train_split, main_refiner(results)
    columns = [Column("seeds", "seed", train, {"rule": "fixed"})]
    if refiner:
        columns.append(Column(f"{refiner} masks", "pseudo_mask", train, {"refiner": refiner}))
    single = {"scales": "ss", "post": "raw"}
    return columns + [Column(split, "segmentation", split, single) for split in results.protocol.eval_splits]
