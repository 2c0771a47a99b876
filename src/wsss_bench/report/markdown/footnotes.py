"""The notes below the tables."""

from __future__ import annotations

from wsss_bench.report.leaderboard import Leaderboard

ALWAYS = (
    "mIoU in percent; background counts as a class where the data set has one; mean ± sample standard "
    "deviation (number of seeds). Ranks hold inside a block only: one data set, one track, the same extra "
    "data, one protocol.",
    "Seeds: `fixed` uses the threshold of the method's file and ranks; `heldout` was chosen on training "
    "images that are left out of the score; † `oracle` was chosen on the scored images: an upper bound, "
    "not a result.",
    "ss, ms: one scale, several scales with flip; crf: DenseCRF in the one setting of the data set.",
    "bg FP: true background predicted as foreground, of all background; bg FN: true foreground predicted "
    "as background, of all foreground; both in percent, of the ranking figure; `-` where a data set has no "
    "background.",
    "Seconds: CPU time, or GPU time where there is one. `train` counts the method that a warm start begins "
    "with; a refiner's column counts the labels and the network that it trains; `total` is everything that "
    "leads to the last product, scoring not counted.",
)


def footnotes(board: Leaderboard, commit: str) -> str:
    """The notes that apply to a leaderboard, as a list; `commit` is the one that most rows were made from."""
    notes = list(ALWAYS)
    reasons = set(board.gaps.values())
    if reasons:
        notes.append(
            "`-`: not run, or not part of the method; `failed`: a stage failed, its log.txt says why."
        )
    if any(reason.startswith("no ") for reason in reasons) or _lacks_crf(board):
        notes.append("`no crf`: made without the CRF extension; install it, delete the stage and run again.")
    if any(row.commits != [commit] for row in board.rows if row.headline):
        notes.append(f"\\*: made, at least in part, from another commit than most rows ({commit}).")
    if any(one.endswith("+") for row in board.rows for one in row.commits):
        notes.append("A commit with `+` had local changes.")
    return "\n".join(f"- {note}" for note in notes)


def _lacks_crf(board: Leaderboard) -> bool:
    """Whether a segmentation was scored raw but not with CRF."""
    scored = {
        (row.method, row.dataset, row.split, row.post) for row in board.rows if row.product == "segmentation"
    }
    return any(post == "raw" and (*rest, "crf") not in scored for *rest, post in scored)
