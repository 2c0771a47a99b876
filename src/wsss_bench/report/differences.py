"""Is one method better than another, or were the images kind? Paired bootstrap over images (Efron & Tibshirani, 1993, ch. 16).

The same images are drawn, with replacement, for both methods; mIoU of each draw comes from the pooled confusion of its
images. With several seeds a method's value in a draw is the mean over its seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

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


def image_counts(path: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Per-image pixel counts of figure `index` of a `confusions.npz`.

    Returns:
        Image ids `(n,)`, sorted, and `(n, 3, 1 + C)` counts: pixels of a class in both, in the truth, in the prediction.
    """
    with np.load(path, allow_pickle=False) as file:
        ids = file["image_id"]
        image, truth, prediction, count = (
            file[f"{index}/{name}"] for name in ("image", "gt", "pred", "count")
        )
    classes = int(max(truth.max(initial=0), prediction.max(initial=0))) + 1
    counts = np.zeros((len(ids), 3, classes))
    same = truth == prediction
    np.add.at(counts, (image[same], 0, truth[same]), count[same])
    np.add.at(counts, (image, 1, truth), count)
    np.add.at(counts, (image, 2, prediction), count)
    order = np.argsort(ids)
    return ids[order], counts[order]


def miou_of_draws(counts: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """mIoU in percent of resampled image sets; the same sets for any `counts` of as many images.

    Args:
        counts: `(n, 3, 1 + C)` of `image_counts`.

    Returns:
        `(draws,)`.
    """
    generator = np.random.default_rng(seed)
    n = len(counts)
    flat = counts.reshape(n, -1)
    values = []
    for start in range(0, draws, BLOCK):
        picked = generator.integers(0, n, (min(BLOCK, draws - start), n))
        weights = np.stack([np.bincount(row, minlength=n) for row in picked]).astype(float)
        values.append(_miou((weights @ flat).reshape(len(weights), 3, -1)))
    return np.concatenate(values)


def _miou(pooled: np.ndarray) -> np.ndarray:
    """`(b, 3, 1 + C)` pooled counts -> `(b,)` percent, over classes that occur in truth or prediction."""
    both, truth, prediction = pooled[:, 0], pooled[:, 1], pooled[:, 2]
    union = truth + prediction - both
    occurs = union > 0
    iou = np.divide(both, union, out=np.zeros_like(both), where=occurs)
    return 100.0 * iou.sum(1) / np.maximum(occurs.sum(1), 1)


def differences(board: Leaderboard) -> list[Difference]:
    """Neighbours in score among the headline figures that share data set, split, product and protocol.

    A difference is no ranking: neighbours of different tracks are compared too, which is how a method is read as a gain over
    the floor. Rows whose per-image counts are gone, or cover other images, are left out.
    """
    groups: dict[str, list[Row]] = {}
    for row in board.rows:
        if row.headline:
            groups.setdefault(f"{row.product} {stem(row.protocol)}", []).append(row)
    found = []
    for rows in groups.values():
        rows = sorted(rows, key=lambda row: -row.miou_mean)
        samples = [_samples(row) for row in rows]
        for (first, one), (second, other) in zip(
            zip(rows, samples, strict=True), zip(rows[1:], samples[1:], strict=True), strict=False
        ):
            if one is None or other is None or not np.array_equal(one[0], other[0]):
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


def _samples(row: Row) -> tuple[np.ndarray, np.ndarray] | None:
    """Image ids and the resampled mIoU of a row, mean over its seeds."""
    ids: np.ndarray | None = None
    draws = []
    for score in row.scores:
        path = score.stages[-1] / CONFUSIONS
        if not path.is_file():
            return None
        own, counts = image_counts(path, score.index)
        if ids is not None and not np.array_equal(ids, own):
            return None
        ids = own
        draws.append(miou_of_draws(counts))
    return None if ids is None else (ids, np.mean(draws, axis=0))
