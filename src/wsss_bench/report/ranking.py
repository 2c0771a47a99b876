"""Which scores are ranked with which, and why others have no rank.

A ranking covers one block: methods of one data set, one track (what a method learns from), the same extra
data and the same protocol. Seeds rank with the fixed threshold, pseudo masks of one refiner among each other,
segmentations with single scale and without CRF on the first evaluation split.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wsss_bench.artifacts.layout import OWN
from wsss_bench.plan.config import MethodHints, Protocol
from wsss_bench.plan.plan import Plan
from wsss_bench.report.leaderboard import Leaderboard, Row, without_threshold

TRACKS = ("image-level", "caption or none", "upper bound")


def track(hints: MethodHints) -> str:
    """The methods that a method is ranked with."""
    if hints.pipeline == "upper_bound":
        return TRACKS[2]
    return TRACKS[0] if hints.supervision in ("image", "image+text") else TRACKS[1]


class Block(NamedTuple):
    """What the methods of one ranking have in common, within a data set; sorted as in the table."""

    track: int  # position in TRACKS
    extra: str
    protocol: str  # without the value of a threshold; empty for methods without a score

    @classmethod
    def of(cls, hints: MethodHints, extra: str, protocol: str) -> Block:
        """The block of a score.

        Args:
            hints: The `bench:` block of its method.
            extra: What the method was given beyond the usual, as text.
            protocol: Its protocol id.
        """
        return cls(TRACKS.index(track(hints)), extra, without_threshold(protocol))

    @property
    def title(self) -> str:
        """Track, extra data, and scales and post-processing of the protocol."""
        title = TRACKS[self.track] + (f", extra: {self.extra}" if self.extra else "")
        return title + (f", {'/'.join(self.protocol.split('/')[3:5])}" if self.protocol else "")


def block_of(row: Row) -> Block:
    """The block of a row."""
    return Block.of(row.hints, " ".join(row.extra), row.protocol)


def places(rows: Iterable[Row]) -> dict[int, int]:
    """The place of each row in its block, by `id`; rows without competitor have none."""
    blocks: dict[Block, list[Row]] = {}
    for row in rows:
        blocks.setdefault(block_of(row), []).append(row)
    found = {}
    for members in blocks.values():
        if len(members) > 1:
            means = sorted((row.miou_mean for row in members), reverse=True)
            found.update({id(row): 1 + means.index(row.miou_mean) for row in members})
    return found


class Standing(NamedTuple):
    """The place of a score in its ranking.

    Args:
        rank: None for a score that does not rank, and where nobody competes.
        peers: Number of scores in the ranking; 0 without a rank.
        note: The ranking; or why there is no rank.
        is_ranking: Whether scores that are measured in this way rank.
    """

    rank: int | None
    peers: int
    note: str
    is_ranking: bool


def standings(plan: Plan, board: Leaderboard) -> list[Standing]:
    """The standing of each row of a leaderboard, in its order."""
    reasons = [why_no_rank(row, plan.datasets[row.dataset].protocol) for row in board.rows]
    ranking = [row for row, reason in zip(board.rows, reasons, strict=True) if not reason]
    ranking = [row for row in ranking if not row.hints.reference]
    found: dict[int, int] = {}
    for dataset in plan.datasets:
        found |= places(row for row in ranking if row.dataset == dataset)
    return [
        Standing(None, 0, reason, False) if reason else _standing(row, found, ranking)
        for row, reason in zip(board.rows, reasons, strict=True)
    ]


def _standing(row: Row, found: Mapping[int, int], ranking: Iterable[Row]) -> Standing:
    if row.hints.reference:
        return Standing(None, 0, f"A reference ({row.hints.reference}): it is not ranked.", True)
    block, rank = block_of(row), found.get(id(row))
    if rank is None:
        return Standing(None, 0, f"Nobody competes: {block.title}.", True)
    peers = sum((one.dataset, block_of(one)) == (row.dataset, block) for one in ranking)
    return Standing(rank, peers, f"{rank} of {peers}: {block.title}.", True)


def why_no_rank(row: Row, protocol: Protocol) -> str:
    """Why scores that are measured as this one do not rank, in a sentence; empty if they do."""
    if row.rule == "oracle":
        return "Its threshold was chosen on the scored images: an upper bound, not a result."
    if row.rule == "heldout":
        return "Its threshold was chosen on images that are left out of the score; the fixed one ranks."
    if row.scales == OWN:
        return "Read out as its authors do: to be compared with the paper's figure, not between methods."
    if not row.headline:
        return "Segmentations rank in single scale without CRF (ss raw)."
    if row.product == "segmentation" and row.split != protocol.eval_splits[0]:
        return f"Methods are ranked on {protocol.eval_splits[0]}; {row.split} is a further split."
    return ""
