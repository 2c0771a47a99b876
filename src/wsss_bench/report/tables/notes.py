"""The notes below the tables: only those that apply."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.plan.scoring import NO_MASKS
from wsss_bench.report.leaderboard import Leaderboard
from wsss_bench.report.markdown.footnotes import result_notes, settings_notes
from wsss_bench.report.results import FAILED, NOT_RUN
from wsss_bench.report.tables.published import WORDS
from wsss_bench.report.tables.scores import PERHAPS, UNKNOWN
from wsss_bench.report.tables.table import Table

NEVER_SCORED = (NO_MASKS, "partial")
"""Reasons for which a product will have no score."""


def notes_of(tables: Sequence[Table], board: Leaderboard, commit: str) -> list[str]:
    """What the signs in the tables mean, and what is missing.

    Args:
        tables: All tables.
        board: What they were made from.
        commit: The one that most rows were made from.
    """
    heads = {head.text for table in tables for head in table.heads}
    texts = {cell.text for table in tables for line in table.lines for cell in line.cells}
    differences = [
        cell.text
        for table in tables
        for index, head in enumerate(table.heads)
        if head.text == "to best" or table.name.endswith("-gains")
        for cell in table.column(index)
    ]
    found = {
        "`#`: rank among the methods of one track with the same extra data and one protocol.": "#" in heads,
        "`(-1.2)`: this method and the best one were given different extra data, or measured under different "
        "protocols, so that it is no ranking.": any(text.startswith("(") for text in differences),
        f"`{PERHAPS}`: may be chance: zero is in the 95 % interval of a paired bootstrap over images, or the "
        "difference is no larger than the standard deviation over random seeds.": _is_in(
            PERHAPS, differences
        ),
        f"`{UNKNOWN}`: the scores of single images are gone, so that chance cannot be ruled out.": _is_in(
            UNKNOWN, differences
        ),
        "`held-out`: with a threshold that was chosen on training images which are left out of the score.": (
            "held-out" in heads
        ),
        "`oracle†`: with the best threshold for the scored images; an upper bound, no result.": (
            "oracle†" in heads
        ),
        "`ss`, `ms`: one scale, several scales with mirror images; `crf`: after DenseCRF.": bool(
            heads & {"ms raw", "ss crf", "ms crf"}
        ),
        "`bg FP`, `bg FN`: percent of the background that is predicted as an object, and of the objects that "
        "are predicted as background.": "bg FP" in heads,
        "Cost: `train` includes the method that a training starts from, a refiner the training of its "
        "network, `total` all that leads to the last product.": any(
            table.name.endswith("-cost") for table in tables
        ),
        f"`{NOT_RUN}`: not run yet; `{FAILED}`: a stage failed, see its log.txt.": bool(
            texts & {NOT_RUN, FAILED}
        ),
    }
    applying = [note for note, applies in found.items() if applies]
    return [*applying, *_unscored(board), *settings_notes(board), *result_notes(board, commit)]


def _is_in(sign: str, texts: Sequence[str]) -> bool:
    return any(sign in text for text in texts)


def _unscored(board: Leaderboard) -> list[str]:
    """What will have a table once it is scored."""
    there = {(row.dataset, row.product) for row in board.rows}
    missing = {
        (key.dataset, key.product): None
        for key, reason in board.gaps.items()
        if (key.dataset, key.product) not in there and reason not in NEVER_SCORED
    }
    names = [f"{WORDS[product]} on {dataset}" for dataset, product in missing]
    return [f"No score yet: {', '.join(names)}."] if names else []
