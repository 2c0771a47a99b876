"""Who is compared with whom: the methods of a track by score, and the ranks of those that compete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsss_bench.report.comparisons import Comparisons
from wsss_bench.report.leaderboard import Row, without_threshold
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.markdown.scores import TRACKS, track

REFERENCES = "references, not ranked"
Block = tuple[str, str, str]
"""Track, extra data, and protocol id without the value of a threshold: the same for rows that compete."""


@dataclass(frozen=True)
class Behind:
    """What lies between a row and another one, such as the best of its track.

    Args:
        points: Its mIoU minus that of the other one.
        is_ranking: Whether the two compete.
        is_clear: Whether the difference is larger than what other images or another random seed may make of
            it; None if that is unknown.
    """

    points: float
    is_ranking: bool
    is_clear: bool | None


@dataclass(frozen=True)
class Entry:
    """A method in a comparison.

    Args:
        method: Name of its row.
        row: Its score; None if there is none.
        block: What those that compete with it have in common.
        rank: Its place among those with a score; None where nobody competes, and for references.
        behind: None for the best of the track, for references, and without a score.
    """

    method: str
    row: Row | None
    block: Block
    rank: int | None = None
    behind: Behind | None = None


def standings(
    results: DatasetResults,
    rows: dict[str, Row | None],
    product: str,
    comparisons: Comparisons,
) -> dict[str, list[Entry]]:
    """The methods by track, each track by score; floor and ceiling come last, under `REFERENCES`.

    Args:
        results: The data set.
        rows: The compared score of each method.
        product: Which product they are scores of.
        comparisons: Compares rows.
    """
    tracks: dict[str, list[Entry]] = {name: [] for name in (*TRACKS, REFERENCES)}
    for method, row in rows.items():
        hints = results.hints[method]
        kind = track(hints)
        block = block_of(kind, row) if row else (kind, results.extras[method, product], "")
        entry = Entry(method, row, block)
        tracks[REFERENCES if hints.reference else kind].append(entry)
    found = {}
    for name, entries in tracks.items():
        entries.sort(key=lambda entry: -(entry.row.miou_mean if entry.row else -1.0))
        found[name] = entries if name == REFERENCES else _placed(entries, comparisons)
    return {name: entries for name, entries in found.items() if entries}


def block_of(kind: str, row: Row) -> Block:
    """The block of a row of this track."""
    return kind, " ".join(row.extra), without_threshold(row.protocol)


def places(rows: Sequence[tuple[Block, Row]]) -> dict[int, int]:
    """The place of each row in its block, by `id`; rows without competitor have none.

    Args:
        rows: Rows with their blocks, of one column.
    """
    blocks: dict[Block, list[Row]] = {}
    for block, row in rows:
        blocks.setdefault(block, []).append(row)
    found = {}
    for members in blocks.values():
        if len(members) > 1:
            means = sorted((row.miou_mean for row in members), reverse=True)
            found.update({id(row): 1 + means.index(row.miou_mean) for row in members})
    return found


def _placed(entries: list[Entry], comparisons: Comparisons) -> list[Entry]:
    ranks = places([(entry.block, entry.row) for entry in entries if entry.row])
    best = entries[0] if entries and entries[0].row else None
    placed = []
    for entry in entries:
        to_best = None
        if best is not None and best.row and entry.row and entry is not best:
            to_best = behind(entry.row, best.row, entry.block == best.block, comparisons)
        placed.append(Entry(entry.method, entry.row, entry.block, ranks.get(id(entry.row)), to_best))
    return placed


def behind(row: Row, other: Row, is_ranking: bool, comparisons: Comparisons) -> Behind:
    """How far a row is behind another one, or before it."""
    points = row.miou_mean - other.miou_mean
    found = comparisons.difference(other, row)
    spread = max(row.miou_std or 0.0, other.miou_std or 0.0)
    return Behind(points, is_ranking, None if found is None else found.is_clear and abs(points) > spread)
