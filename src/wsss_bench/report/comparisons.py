"""The difference in mIoU between two rows, with the interval of a paired bootstrap over images."""

from __future__ import annotations

from dataclasses import dataclass

from wsss_bench.metrics.stats import ResampledMIoU, difference_interval, resample
from wsss_bench.report.leaderboard import Row, without_threshold


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


class Comparisons:
    """Compares rows of a leaderboard; what the bootstrap needs of a row is computed once."""

    def __init__(self) -> None:
        self._resampled: dict[int, tuple[Row, ResampledMIoU | None]] = {}

    def difference(self, first: Row, second: Row) -> Difference | None:
        """The difference of two rows; None where matrices are gone or the images are not the same."""
        one, other = self._resample(first), self._resample(second)
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

    def _resample(self, row: Row) -> ResampledMIoU | None:
        if id(row) not in self._resampled:
            self._resampled[id(row)] = (row, _resampled(row))  # with the row, so that its id stays its own
        return self._resampled[id(row)][1]


def _resampled(row: Row) -> ResampledMIoU | None:
    """mIoU on resampled images; None where matrices are gone or the runs cover different images."""
    runs = [run.confusions for run in row.runs if run.confusions is not None]
    if len(runs) < len(row.runs) or len({frozenset(run.image_ids) for run in runs}) > 1:
        return None
    return resample(runs)
