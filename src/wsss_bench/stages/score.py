"""Scoring of a split: masks, and seeds under three threshold rules. Each file is read once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np

from wsss_bench.artifacts.files import mask_path, read_mask
from wsss_bench.artifacts.seeds import read_seed
from wsss_bench.data.sources.base import Source
from wsss_bench.metrics import functional
from wsss_bench.metrics.boundary import near_boundary
from wsss_bench.metrics.per_image import ConfusionWriter
from wsss_bench.metrics.sweep import ImageCounts, ThresholdSweep
from wsss_bench.readout import full_size_scores, threshold_mask
from wsss_bench.stages.thresholds import Rule, best_threshold, holdout_ids, thresholds_with

OnProgress = Callable[[int, int], None]
"""Called with the number of images done and the number of all images."""
Readout = tuple[str, str]
"""Scales (`ss` or `ms`) and post-processing (`raw`, `crf` or the name of a refiner); or `own` and the name of
a published read-out."""
Curve = dict[str, list[float]]
"""`threshold` and `miou`, two lists of the same length."""


@dataclass(frozen=True)
class Score:
    """Pixel counts under one read-out and one threshold rule.

    Args:
        readout: Scales and post-processing.
        rule: How the threshold was set.
        threshold: Background threshold in [0, 1]; None for masks.
        n_images: Images counted.
        headline: Whether the leaderboard ranks by this score.
        matrix: `(K, K)` int64 confusion matrix over these images, rows are the truth.
        own_background: Whether the seeds hold a background score of the method, besides the threshold.
        boundary: The same matrix over the pixels near a boundary of the truth; None where the threshold was
            chosen on data.
    """

    readout: Readout
    rule: Rule
    threshold: float | None
    n_images: int
    headline: bool
    matrix: np.ndarray
    own_background: bool = False
    boundary: np.ndarray | None = None


def score_masks(
    source: Source,
    ids: Sequence[str],
    folders: dict[Readout, Path],
    headline: Readout,
    writer: ConfusionWriter,
    on_progress: OnProgress,
) -> list[Score]:
    """Score folders of masks; the ground truth of an image is decoded once for all of them.

    Args:
        source: Ground truth.
        ids: Images.
        folders: Masks by read-out, one score each.
        headline: The read-out that ranks.
        writer: Receives the confusion matrix of each image; it has a row for each folder.
        on_progress: Called after each image.

    Raises:
        ValueError: a mask does not have the size of its image or holds a value that is no class; or it holds
            background although the data set has none.
    """
    classes = 1 + len(source.class_names)
    counts, boundary = np.zeros((2, len(folders), classes, classes), np.int64)
    scores = [
        Score(key, "na", None, len(ids), key == headline, counts[position], boundary=boundary[position])
        for position, key in enumerate(folders)
    ]
    for index, image_id in enumerate(ids):
        target = source.mask(image_id)
        near = near_boundary(target)
        for position, folder in enumerate(folders.values()):
            prediction = read_mask(mask_path(folder, image_id))
            matrix = functional.confusion(prediction, target, classes, image_id)
            if not source.has_background and matrix[:, 0].any():
                raise ValueError(
                    f"prediction of image {image_id!r} holds background (0) on {matrix[:, 0].sum()} pixels "
                    "that count, but the data set has none; every pixel needs a class 1..C there"
                )
            counts[position] += matrix
            boundary[position] += functional.confusion(prediction, near, classes, image_id)
            writer.add(position, index, matrix)
        on_progress(index + 1, len(ids))
    return scores


def score_seeds(
    source: Source,
    ids: Sequence[str],
    folder: Path,
    threshold: float,
    holdout: int,
    readout: Readout,
    writer: ConfusionWriter,
    on_progress: OnProgress,
) -> tuple[list[Score], Curve]:
    """Score seeds under the rules `fixed`, `heldout` (where `holdout` > 0) and `oracle`.

    One pass over the seeds counts the pixels at all thresholds. When the thresholds are chosen, the counts of
    single images are read back from a temporary file to write their confusion matrices.

    Args:
        source: Ground truth.
        ids: Images.
        folder: Folder of the seeds.
        threshold: The fixed background threshold in [0, 1]; it is also a candidate of the other two rules.
        holdout: Number of images that the `heldout` threshold is chosen on; its score leaves them out.
        readout: Scales and post-processing that the seeds were made with.
        writer: Receives the confusion matrix of each image; it has a row for each rule.
        on_progress: Called after each image.

    Returns:
        The scores, and the curve of mIoU over thresholds on all images.
    """
    thresholds = thresholds_with(threshold)
    fixed = thresholds.index(threshold)
    chosen_on = holdout_ids(ids, holdout)
    classes = 1 + len(source.class_names)
    own_background: bool | None = None
    holdout_sweep, other_sweep = (ThresholdSweep(thresholds, classes) for _ in range(2))
    boundary = np.zeros((classes, classes), np.int64)
    with _CountsOnDisk() as counts_on_disk:
        for index, image_id in enumerate(ids):
            maps, target = read_seed(folder, image_id, ["scores"]), source.mask(image_id)
            if maps.size != target.shape:
                raise ValueError(
                    f"seed of image {image_id!r} is for an image of {maps.size} (height, width), its ground "
                    f"truth is {target.shape}; make the seeds from the same images"
                )
            if len(maps.classes):
                found = maps.background is not None
                if own_background not in (None, found):
                    raise ValueError(
                        f"{folder}: the seed of image {image_id!r} has {'a' if found else 'no'} background "
                        "score of the method, unlike those before it; make all seeds with one method"
                    )
                own_background = found
            sweep = holdout_sweep if image_id in chosen_on else other_sweep
            maps = maps._replace(scores=full_size_scores(maps))
            counts = sweep.update(maps.scores, maps.classes, target, image_id)
            prediction = threshold_mask(maps, threshold)
            boundary += functional.confusion(prediction, near_boundary(target), classes, image_id)
            writer.add(0, index, sweep.confusion_at(fixed, counts))
            counts_on_disk.add(counts)
            on_progress(index + 1, len(ids))
        choices = _choose(fixed, holdout_sweep.confusions(), other_sweep.confusions(), chosen_on)
        for index, counts in enumerate(counts_on_disk):
            for position, choice in enumerate(choices[1:], start=1):
                if ids[index] not in choice.left_out:
                    writer.add(position, index, other_sweep.confusion_at(choice.position, counts))
    scores = [
        choice.score(readout, thresholds, len(ids), bool(own_background), boundary) for choice in choices
    ]
    miou = functional.mean_iou(holdout_sweep.confusions() + other_sweep.confusions())
    return scores, {"threshold": thresholds, "miou": [float(value) for value in np.nan_to_num(miou)]}


class _Choice(NamedTuple):
    """The threshold of one rule."""

    rule: Rule
    position: int  # among the thresholds
    matrix: np.ndarray  # (K, K) confusion matrix over the counted images
    left_out: frozenset[str]  # images that are not counted

    def score(
        self,
        readout: Readout,
        thresholds: Sequence[float],
        n_ids: int,
        own_background: bool,
        boundary_at_fixed: np.ndarray,
    ) -> Score:
        fixed = self.rule == "fixed"
        return Score(
            readout,
            self.rule,
            thresholds[self.position],
            n_images=n_ids - len(self.left_out),
            headline=fixed,
            matrix=self.matrix,
            own_background=own_background,
            boundary=boundary_at_fixed if fixed else None,
        )


def _choose(
    fixed: int, on_holdout: np.ndarray, on_others: np.ndarray, chosen_on: frozenset[str]
) -> list[_Choice]:
    """The thresholds of the rules.

    Args:
        fixed: Position of the fixed threshold.
        on_holdout: `(T, K, K)` confusion matrices over the images that the `heldout` threshold is chosen on.
        on_others: The same over the other images.
        chosen_on: Ids of the first group; without any there is no rule `heldout`.
    """
    everything = on_holdout + on_others
    choices = [_Choice("fixed", fixed, everything[fixed], frozenset())]
    if chosen_on:
        best = best_threshold(functional.mean_iou(on_holdout))
        choices.append(_Choice("heldout", best, on_others[best], chosen_on))
    best = best_threshold(functional.mean_iou(everything))
    return [*choices, _Choice("oracle", best, everything[best], frozenset())]


class _CountsOnDisk:
    """Histograms of single images in a temporary file, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> _CountsOnDisk:
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
