"""The differences that the leaderboard lists: between neighbours in score and between related rows."""

from __future__ import annotations

from itertools import combinations

from wsss_bench.report.comparisons import Comparisons, Difference
from wsss_bench.report.leaderboard import Leaderboard, Row, without_threshold


def differences(board: Leaderboard, comparisons: Comparisons | None = None) -> list[Difference]:
    """Differences among the scores that rank, within one data set, split, product and protocol.

    Compared are neighbours in score, a variant with the method that it varies, and a method with the one it
    starts from and that one's variants. Neighbours of different tracks are compared too, which shows the gain
    of a method over the floor; a difference is not a ranking. Rows without per-image confusion matrices, or
    with other images, are left out.
    """
    comparisons = comparisons or Comparisons()
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in board.rows:
        if row.headline:
            groups.setdefault((row.product, without_threshold(row.protocol)), []).append(row)
    found = []
    for rows in groups.values():
        rows = sorted(rows, key=lambda row: -row.miou_mean)
        for i, j in combinations(range(len(rows)), 2):
            if j - i == 1 or is_related(rows[i], rows[j]) or is_related(rows[j], rows[i]):
                difference = comparisons.difference(rows[i], rows[j])
                found += [difference] if difference else []
    return found


def is_related(row: Row, reference: Row) -> bool:
    """Whether `row` is a variant of the method `reference`, or starts from that method."""
    varies = row.method != row.base == reference.method
    return varies or row.hints.warm_start == reference.base
