"""The two kinds of files that an evaluation scores: seeds and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from wsss_bench.artifacts.files import mask_path, read_mask
from wsss_bench.artifacts.layout import MASKS, folders_of_readouts, mask_folders, require_files, seed_folder
from wsss_bench.artifacts.seeds import read_seed, seed_ids
from wsss_bench.data.sources.base import Source
from wsss_bench.metrics.per_image import ConfusionWriter
from wsss_bench.readout import threshold_mask
from wsss_bench.stages.score import Curve, OnProgress, Readout, Score, score_masks, score_seeds


class ScoredFiles(Protocol):
    """Files of one kind: how they are scored, and the mask that the panels show."""

    product: str
    n_rows: int  # number of scores

    def require_files_of(self, ids: Sequence[str], split: str) -> None:
        """Raise `FileNotFoundError` where images have no file."""

    def score(
        self, source: Source, ids: Sequence[str], writer: ConfusionWriter, on_progress: OnProgress
    ) -> tuple[list[Score], Curve | None]:
        """The scores and, for seeds, the curve of mIoU over thresholds."""

    def mask(self, image_id: str) -> np.ndarray:
        """Predicted mask `(H, W)` uint8 of an image under the headline read-out."""


class ScoredSeeds:
    """The seeds of a seed stage, or of a bare folder, under the threshold rules.

    Args:
        seeds: Stage or folder.
        threshold: The fixed background threshold.
        holdout: Number of images that the `heldout` threshold is chosen on.
        readout: Scales and post-processing that the seeds were made with.
    """

    product = "seed"

    def __init__(self, seeds: Path, threshold: float, holdout: int, readout: Readout) -> None:
        self.folder = seed_folder(seeds)
        self.threshold = threshold
        self.holdout = holdout
        self.readout = readout
        self.n_rows = 3 if holdout else 2

    def require_files_of(self, ids: Sequence[str], split: str) -> None:
        present = seed_ids(self.folder)
        require_files([name for name in ids if name not in present], "seed", self.folder, split)

    def score(
        self, source: Source, ids: Sequence[str], writer: ConfusionWriter, on_progress: OnProgress
    ) -> tuple[list[Score], Curve]:
        return score_seeds(
            source, ids, self.folder, self.threshold, self.holdout, self.readout, writer, on_progress
        )

    def mask(self, image_id: str) -> np.ndarray:
        return threshold_mask(read_seed(self.folder, image_id, ["scores"]), self.threshold)


class ScoredMasks:
    """The masks of a predict stage (a folder for each read-out), of a refine stage, or of a bare folder.

    Args:
        masks: Stage or folder.
        readout: Scales and post-processing of a folder that does not say it itself.
        crf_masks: crf stage, whose read-outs are scored too.

    Raises:
        FileNotFoundError: `crf_masks` is not a folder.
    """

    product = "segmentation"

    def __init__(self, masks: Path, readout: Readout, crf_masks: Path | None = None) -> None:
        self.folders = mask_folders(masks, readout)
        if crf_masks is not None:
            self.folders |= _with_crf(crf_masks)
        self.headline = ("ss", "raw") if ("ss", "raw") in self.folders else next(iter(self.folders))
        self.n_rows = len(self.folders)

    def require_files_of(self, ids: Sequence[str], split: str) -> None:
        for folder in self.folders.values():
            require_files(
                [name for name in ids if not mask_path(folder, name).is_file()], "mask", folder, split
            )

    def score(
        self, source: Source, ids: Sequence[str], writer: ConfusionWriter, on_progress: OnProgress
    ) -> tuple[list[Score], None]:
        return score_masks(source, ids, self.folders, self.headline, writer, on_progress), None

    def mask(self, image_id: str) -> np.ndarray:
        return read_mask(mask_path(self.folders[self.headline], image_id))


def _with_crf(stage: Path) -> dict[Readout, Path]:
    if not Path(stage).is_dir():
        raise FileNotFoundError(f"crf_masks={str(stage)!r} is no folder; name a crf stage")
    return folders_of_readouts(Path(stage) / MASKS)  # none where the CRF is not installed
