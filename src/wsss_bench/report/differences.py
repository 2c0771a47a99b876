"""Is one method better than another, or were the images kind? Paired bootstrap over images (Efron &
Tibshirani, 1993, ch. 16).

The same images are drawn, with replacement, for both methods; mIoU of each draw comes from the pooled
confusion of its images. With several seeds a method's value in a draw is the mean over its seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from wsss_bench.metrics.functional import iou_from_sums, mean_over_present
from wsss_bench.metrics.per_image import read_per_image
from wsss_bench.report.table import Leaderboard, Row, stem

CONFUSIONS = "confusions.npz"
DRAWS = 1000
BLOCK = 50


@dataclass(frozen=True)
class Difference:
    """mIoU of `first` minus that of `second`, in points, with a 95 % interval."""

    first: str
    second: str
    protocol: str
    n_images: int
    points: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def miou_of_draws(sums: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """mIoU in percent of resampled image sets; the same sets for any `sums` of as many images.

    Args:
        sums: `(n, 3K)` pixels that are right, true and predicted of each class, per image.
        draws: Number of sets.
        seed: Of the draws.

    Returns:
        `(draws,)`.
    """
    generator = np.random.default_rng(seed)
    n = len(sums)
    values = []
    for start in range(0, draws, BLOCK):
        picked = generator.integers(0, n, (min(BLOCK, draws - start), n))
        weights = np.stack([np.bincount(row, minlength=n) for row in picked]).astype(float)
        hits, truth, predicted = np.split(weights @ sums, 3, axis=1)
        values.append(100.0 * mean_over_present(iou_from_sums(hits, truth, predicted)))
    return np.concatenate(values)


def differences(board: Leaderboard) -> list[Difference]:
    """Differences among the headline figures that share data set, split, product and protocol.

    Compared are neighbours in score, a variant with the method that it varies, and a method with the one it
    starts from and that one's variants. A difference is no ranking: neighbours of different tracks are
    compared too, which is how a method is read as a gain over the floor. Rows whose per-image counts are
    gone, or cover other images, are left out.
    """
    groups: dict[str, list[Row]] = {}
    for row in board.rows:
        if row.headline:
            groups.setdefault(f"{row.product} {stem(row.protocol)}", []).append(row)
    found = []
    for rows in groups.values():
        rows = sorted(rows, key=lambda row: -row.miou_mean)
        samples = [_samples(row) for row in rows]
        for i, j in combinations(range(len(rows)), 2):
            first, second, one, other = rows[i], rows[j], samples[i], samples[j]
            if j - i > 1 and not _is_related(first, second) and not _is_related(second, first):
                continue
            if one is None or other is None or one[0] != other[0]:
                continue
            low, high = np.percentile(one[1] - other[1], [2.5, 97.5])
            points = first.miou_mean - second.miou_mean
            found.append(
                Difference(
                    first.method,
                    second.method,
                    stem(first.protocol),
                    len(one[0]),
                    points,
                    float(low),
                    float(high),
                )
            )
    return found


def _is_related(row: Row, reference: Row) -> bool:
    """Whether `row` is a variant of the method `reference`, or starts from that method."""
    varies = row.method != row.base == reference.method
    return varies or row.hints.warm_start == reference.base


def _samples(row: Row) -> tuple[list[str], np.ndarray] | None:
    """Image ids, sorted, and the resampled mIoU of a row, mean over its seeds; None where counts are gone."""
    paths = [score.stages[-1] / CONFUSIONS for score in row.scores]
    if not all(path.is_file() for path in paths):
        return None
    sides = [
        read_per_image(path, score.index, len(score.iou))
        for path, score in zip(paths, row.scores, strict=True)
    ]
    ids = sorted(sides[0].image_id)
    if any(sorted(side.image_id) != ids for side in sides):
        return None
    return ids, np.mean([miou_of_draws(side.select(ids).class_sums()) for side in sides], axis=0)
