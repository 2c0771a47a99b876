"""The two ways to score a split: masks, and seeds under three threshold rules. Each reads every file once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal

import numpy as np

from wsss_bench.artifacts.files import mask_path, read_mask, read_seed
from wsss_bench.data.sources.base import Source
from wsss_bench.metrics import functional
from wsss_bench.metrics.miou import MeanIoU
from wsss_bench.metrics.per_image import ConfusionWriter
from wsss_bench.metrics.sweep import ImageCounts, ThresholdSweep
from wsss_bench.readout import full_size_scores

GRID = tuple(step / 100 for step in range(1, 100))
"""Background thresholds of the sweep. Published sweeps end at 0.60; CLIP's maps have their best ones above.
"""

Rule = Literal["fixed", "heldout", "oracle", "na"]
Tell = Callable[[int, int], None]


@dataclass
class Figure:
    """One number and what it was counted from."""

    scales: str
    post: str
    rule: Rule
    threshold: float | None
    n_images: int
    headline: bool
    background: bool  # whether the data set has one
    metric: MeanIoU

    @property
    def threshold_id(self) -> str:
        """The part of the protocol id; a chosen threshold is a result and not part of it."""
        return f"thr-fixed-{self.threshold:.2f}" if self.rule == "fixed" else f"thr-{self.rule}"

    def values(self) -> dict[str, Any]:
        """mIoU, IoU per class and background rates, in [0, 1]; None where there is nothing to count.

        On a data set without background both rates are None.
        """
        result = self.metric.compute()
        matrix = result["confusion"].cpu().numpy()
        rates = {
            "false_positive_background": functional.false_positive_background,
            "false_negative_background": functional.false_negative_background,
        }
        return {
            "miou": _or_none(float(result["miou"])),
            "iou": [_or_none(value) for value in result["iou"].tolist()],
            **{name: _or_none(rate(matrix)) if self.background else None for name, rate in rates.items()},
        }


def score_masks(
    source: Source,
    ids: Sequence[str],
    folders: dict[tuple[str, str], Path],
    headline: tuple[str, str],
    writer: ConfusionWriter,
    tell: Tell,
) -> list[Figure]:
    """Score folders of masks; the ground truth of an image is decoded once for all of them.

    Args:
        source: Ground truth.
        ids: Images.
        folders: Masks by (scales, post-processing), one figure each.
        headline: The one that ranks.
        writer: Receives the matrix of each image; it has a place for each folder.
        tell: Called with images done and in all.
    """
    classes = 1 + len(source.class_names)
    background = source.has_background
    figures = [
        Figure(*readout, "na", None, len(ids), readout == headline, background, MeanIoU(classes))
        for readout in folders
    ]
    for index, image_id in enumerate(ids):
        target = source.mask(image_id)
        for position, (figure, folder) in enumerate(zip(figures, folders.values(), strict=True)):
            prediction = read_mask(mask_path(folder, image_id))
            matrix = functional.confusion(prediction, target, classes, image_id)
            if not background and matrix[:, 0].any():
                raise ValueError(
                    f"prediction of image {image_id!r} holds background (0) on {matrix[:, 0].sum()} pixels that count, but "
                    "the data set has none; every pixel needs a class 1..C there"
                )
            figure.metric.update_confusion(matrix)
            writer.add(position, index, matrix)
        tell(index + 1, len(ids))
    return figures


def score_seeds(
    source: Source,
    ids: Sequence[str],
    folder: Path,
    threshold: float,
    holdout: int,
    scales: str,
    post: str,
    writer: ConfusionWriter,
    tell: Tell,
) -> tuple[list[Figure], dict[str, list[float]]]:
    """Score seeds under the rules `fixed`, `heldout` (where `holdout` > 0) and `oracle`, from one pass.

    Args:
        source: Ground truth.
        ids: Images.
        folder: `<id>.npz` seed files.
        threshold: The fixed background threshold in [0, 1]; it is also one of the thresholds to choose from.
        holdout: Images that the `heldout` threshold is chosen on; its figure leaves them out.
        scales, post: Parts of the protocol.
        writer: Receives the matrix of each image; it has a place for each rule.
        tell: Called with images done and in all.

    Returns:
        The figures, and the curve of mIoU over thresholds on all images.
    """
    classes = 1 + len(source.class_names)
    thresholds = thresholds_with(threshold)
    fixed = thresholds.index(threshold)
    chosen_on = holdout_ids(ids, holdout)
    held, rest = ThresholdSweep(thresholds, classes), ThresholdSweep(thresholds, classes)
    with _Spool() as spool:
        for index, image_id in enumerate(ids):
            maps = read_seed(folder, image_id)
            sweep = held if image_id in chosen_on else rest
            counts = sweep.update(full_size_scores(maps), maps.classes, source.mask(image_id), image_id)
            writer.add(0, index, sweep.confusion_at(fixed, counts))
            spool.add(counts)
            tell(index + 1, len(ids))
        matrices = held.confusions() + rest.confusions()  # (T, K, K)
        curve = functional.mean_iou(matrices)
        background = source.has_background
        figures = [
            Figure(scales, post, "fixed", threshold, len(ids), True, background, _metric(matrices[fixed]))
        ]
        choices = []
        if holdout:
            best = best_threshold(functional.mean_iou(held.confusions()))
            metric = _metric(rest.confusions()[best])
            rest_count = len(ids) - holdout
            figures.append(
                Figure(scales, post, "heldout", thresholds[best], rest_count, False, background, metric)
            )
            choices.append(best)
        best = best_threshold(curve)
        metric = _metric(matrices[best])
        figures.append(Figure(scales, post, "oracle", thresholds[best], len(ids), False, background, metric))
        choices.append(best)
        for index, counts in enumerate(spool):
            for position, choice in enumerate(choices, start=1):
                if figures[position].rule == "oracle" or ids[index] not in chosen_on:
                    writer.add(position, index, rest.confusion_at(choice, counts))
    return figures, {"threshold": thresholds, "miou": [float(value) for value in np.nan_to_num(curve)]}


def best_threshold(curve: np.ndarray) -> int:
    """Position of the highest mIoU; the lowest threshold of equal ones."""
    return int(np.argmax(np.nan_to_num(curve, nan=-1.0)))


def thresholds_with(fixed: float) -> list[float]:
    """The grid, and the fixed threshold where it is not on it."""
    if not 0 <= fixed <= 1:
        raise ValueError(f"threshold (the fixed background threshold) is in [0, 1], got {fixed}")
    return sorted({*(t for t in GRID if np.float32(t) != np.float32(fixed)), fixed})


def holdout_ids(ids: Sequence[str], number: int) -> frozenset[str]:
    """The `number` images whose id has the smallest sha1: the same ones for every method, whatever the order
    of the split.
    """
    if not 0 <= number < len(ids):
        raise ValueError(
            f"holdout is at least 0 and smaller than the split ({len(ids)} images), got {number}"
        )
    return frozenset(sorted(ids, key=lambda name: sha1(name.encode()).hexdigest())[:number])


class _Spool:
    """Histograms of single images, parked on disk until the thresholds are chosen."""

    def __init__(self) -> None:
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, counts: ImageCounts) -> None:
        block = zlib.compress(np.stack(counts).astype("<i4").tobytes(), 1)
        self._file.write(len(block).to_bytes(4, "little") + block)

    def __iter__(self) -> Iterator[ImageCounts]:
        self._file.seek(0)
        while size := self._file.read(4):
            block = zlib.decompress(self._file.read(int.from_bytes(size, "little")))
            yield ImageCounts(*np.frombuffer(block, "<i4").reshape(2, -1))


def _metric(matrix: np.ndarray) -> MeanIoU:
    metric = MeanIoU(len(matrix))
    metric.update_confusion(matrix)
    return metric


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
