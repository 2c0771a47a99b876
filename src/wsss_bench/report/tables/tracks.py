"""Who is compared with whom: the methods of a track by score, and the ranks of those that compete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from wsss_bench.report.differences import difference
from wsss_bench.report.leaderboard import Row
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.ranking import TRACKS, Block, block_of, places

REFERENCES = "references"
"""In the place of a track, for floor and ceiling."""


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
        to_best: None for the best of the track, for references, and without a score.
    """

    method: str
    row: Row | None
    block: Block
    rank: int | None = None
    to_best: Behind | None = None


def by_track(results: DatasetResults, rows: Mapping[str, Row | None], product: str) -> dict[str, list[Entry]]:
    """The methods by track, each track by score; floor and ceiling come last, under `REFERENCES`.

    Args:
        results: The data set.
        rows: The compared score of each method.
        product: Which product they are scores of.
    """
    tracks: dict[str, list[Entry]] = {name: [] for name in (*TRACKS, REFERENCES)}
    for method, row in rows.items():
        hints = results.hints[method]
        block = block_of(row) if row else Block.of(hints, results.extras[method, product], "")
        tracks[REFERENCES if hints.reference else TRACKS[block.track]].append(Entry(method, row, block))
    for name, entries in tracks.items():
        entries.sort(key=lambda entry: -(entry.row.miou_mean if entry.row else -1.0))
        if name != REFERENCES:
            tracks[name] = _placed(entries)
    return {name: entries for name, entries in tracks.items() if entries}


def behind(row: Row, other: Row, is_ranking: bool) -> Behind:
    """How far a row is behind another one, or before it."""
    points = row.miou_mean - other.miou_mean
    found = difference(other, row)
    spread = max(row.miou_std or 0.0, other.miou_std or 0.0)
    return Behind(points, is_ranking, None if found is None else found.is_clear and abs(points) > spread)


def _placed(entries: list[Entry]) -> list[Entry]:
    """The entries of a track with their ranks and their distance to the first one."""
    ranks = places(entry.row for entry in entries if entry.row)
    first = entries[0] if entries else None
    placed = []
    for entry in entries:
        to_best = None
        if first and first.row and entry.row and entry is not first:
            to_best = behind(entry.row, first.row, entry.block == first.block)
        placed.append(replace(entry, rank=ranks.get(id(entry.row)), to_best=to_best))
    return placed
