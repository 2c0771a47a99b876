"""The notes below the tables."""

from __future__ import annotations

from wsss_bench.artifacts.layout import OWN, shortened
from wsss_bench.plan.scoring import NO_MASKS
from wsss_bench.plan.state import CODE_UNKNOWN, STALE
from wsss_bench.report.leaderboard import Leaderboard
from wsss_bench.report.markdown.cells import STALE_MARK

ALWAYS = (
    "mIoU in percent; background counts as a class where the data set has one. Scores are mean ± sample "
    "standard deviation over random seeds (number of runs). Ranks hold inside one block only: one data set, "
    "one track, the same extra data, one protocol.",
    "Thresholds of seeds: `fixed` is the threshold in the method's file, and ranks; `heldout` was chosen on "
    "training images that are left out of the score; † `oracle` was chosen on the scored images, so it is an "
    "upper bound and not a result.",
    "ss: one scale; ms: several scales with flip; crf: DenseCRF, with one setting for each data set.",
    "bg FP: share of the true background that is predicted as foreground; bg FN: share of the true "
    "foreground that is predicted as background; both in percent, of the score that ranks; `-` where a data "
    "set has no background.",
    "Seconds are CPU time, or GPU time where there is a GPU. `train` includes the training of the method "
    "that a warm start begins with; the column of a refiner includes its affinity labels and the training "
    "of its network; `total` is everything that leads to the last product, without scoring.",
)


def footnotes(board: Leaderboard, commit: str) -> str:
    """The notes below a leaderboard, as a list; `commit` is the one that most rows were made from."""
    notes = [*ALWAYS, *settings_notes(board)]
    if board.gaps:
        notes.append("`-`: not run, or not part of the method; `failed`: a stage failed, see its log.txt.")
    return "\n".join(f"- {note}" for note in [*notes, *result_notes(board, commit)])


def settings_notes(board: Leaderboard) -> list[str]:
    """The settings that methods have of their own for a refiner."""
    return [
        f"{method} on {dataset}: {post}, settings of the method in place of those in the refiner's file."
        for method, dataset, post in dict.fromkeys((row.method, row.dataset, row.post) for row in board.rows)
        if "[" in post
    ]


def result_notes(board: Leaderboard, commit: str) -> list[str]:
    """What is missing or marked in this leaderboard, and why."""
    notes = []
    reasons = set(board.gaps.values())
    if NO_MASKS in reasons:
        notes.append(
            f"`{NO_MASKS}`: made, but not scored, since the split has no masks (`protocol.unscored`); "
            "`wsss-bench bench ... --dry-run` lists the stages, whose folders have the results."
        )
    if any(reason.startswith("no ") and reason != NO_MASKS for reason in reasons) or _lacks_crf(board):
        notes.append(
            "`no crf`: made without the CRF extension; install it and run the prediction or the refine stage "
            "`--again`."
        )
    notes += [f"`damaged`, left out until bench is run again: {one}." for one in board.damage]
    notes += _changes(board)
    if any(row.scales == OWN for row in board.rows):
        notes.append(
            "as published: read out of the same checkpoint as the authors do, with their sizes, scales and "
            "CRF; to be compared with the paper's figure, not between methods. Several scores stand in the "
            "order of the table of published results."
        )
    if any(row.commits != [commit] for row in board.rows if row.headline):
        notes.append(f"\\*: made, at least in part, from another commit than most rows ({commit}).")
    if any(one.endswith("+") for row in board.rows for one in row.commits):
        notes.append("A commit with `+` had local changes.")
    return notes


def _changes(board: Leaderboard) -> list[str]:
    """The note of the mark, and what nobody can know."""
    changes: dict[str, set[str]] = {}
    unknown: set[str] = set()
    for row in board.rows:
        for run in row.runs:
            for stage, found in run.changes.items():
                unknown |= {stage} if CODE_UNKNOWN in found else set()
                for change in STALE:
                    changes.setdefault(change, set()).update(found.get(change, []))
    named = [f"{change} ({shortened(sorted(names))})" for change, names in changes.items() if names]
    notes = []
    if named:
        notes.append(
            f"{STALE_MARK}: rests on a stage that has changed since it ran: {', '.join(named)}. "
            "`wsss-bench bench ... --again changed` runs such stages again."
        )
    if unknown:
        notes.append(f"The code that {len(unknown)} stages ran was not recorded, or is not on this machine.")
    return notes


def _lacks_crf(board: Leaderboard) -> bool:
    """Whether a segmentation was scored raw but not with CRF; one scale may be all that is wanted."""
    scored = {
        (row.method, row.dataset, row.split, row.post)
        for row in board.rows
        if row.product == "segmentation" and row.scales == "ms"
    }
    return any(post == "raw" and (*place, "crf") not in scored for *place, post in scored)
