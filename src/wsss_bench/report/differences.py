"""Differences in mIoU between two methods, with the interval of a paired bootstrap over images."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from wsss_bench.metrics.stats import difference_interval
from wsss_bench.report.leaderboard import Leaderboard, Row, without_threshold


@dataclass(frozen=True)
class Difference:
    """mIoU of `first` minus that of `second`, in points, with a 95 % interval.

    Args:
        first, second: Methods.
        protocol: Their protocol id without threshold value.
        n_images: Images that were resampled.
        points: Difference of the means over runs.
        low, high: Bounds of the interval.
    """

    first: str
    second: str
    protocol: str
    n_images: int
    points: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


def differences(board: Leaderboard) -> list[Difference]:
    """Differences among the scores that rank, within one data set, split, product and protocol.

    Compared are neighbours in score, a variant with the method that it varies, and a method with the one it
    starts from and that one's variants. Neighbours of different tracks are compared too, which shows the gain
    of a method over the floor; a difference is not a ranking. Rows without per-image confusion matrices, or
    with other images, are left out.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in board.rows:
        if row.headline:
            groups.setdefault((row.product, without_threshold(row.protocol)), []).append(row)
    found = []
    for rows in groups.values():
        rows = sorted(rows, key=lambda row: -row.miou_mean)
        for i, j in combinations(range(len(rows)), 2):
            if j - i == 1 or _is_related(rows[i], rows[j]) or _is_related(rows[j], rows[i]):
                one = difference(rows[i], rows[j])
                found += [one] if one else []
    return found


def _is_related(row: Row, reference: Row) -> bool:
    """Whether `row` is a variant of the method `reference`, or starts from that method."""
    varies = row.method != row.base == reference.method
    return varies or row.hints.warm_start == reference.base


def difference(first: Row, second: Row) -> Difference | None:
    """The difference of two rows; None where matrices are gone or the images are not the same."""
    one, other = first.resampled, second.resampled
    if one is None or other is None or one.image_ids != other.image_ids:
        return None
    return Difference(
        first.method,
        second.method,
        without_threshold(first.protocol),
        len(one.image_ids),
        first.miou_mean - second.miou_mean,
        *difference_interval(one, other),
    )
