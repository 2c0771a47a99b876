"""Lightning callbacks of the stages: progress of a run, and predictions written image by image."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from wsss_bench.artifacts.files import mask_path, write_mask, write_seed
from wsss_bench.artifacts.layout import readout_folder
from wsss_bench.artifacts.run import StageRun
from wsss_bench.crf.densecrf import CRFConfig, CRFPool
from wsss_bench.published_readout import PublishedReadout, crf_image
from wsss_bench.types import InferenceSample, ScoreMaps


class Progress(Callback):
    """Writes the progress of a stage to `progress.json`, and to the log each epoch or every 30 s."""

    def __init__(self, run: StageRun) -> None:
        self.run = run
        self._printed = time.monotonic()

    @rank_zero_only
    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.run.progress(trainer.global_step, int(trainer.estimated_stepping_batches), "steps")

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        shown = {k: f"{float(v):.4g}" for k, v in trainer.callback_metrics.items()}
        values = " ".join(f"{name}={value}" for name, value in shown.items())
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} step {trainer.global_step} {values}",
            flush=True,
        )

    @rank_zero_only
    def on_predict_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int, loader: int = 0
    ) -> None:
        done, total = index + 1, int(sum(trainer.num_predict_batches))
        self.run.progress(done, total, "images")
        if time.monotonic() - self._printed > 30 or done == total:
            self._printed = time.monotonic()
            print(f"{done}/{total} images", flush=True)


class SeedWriter(Callback):
    """Writes the seed file of each image as soon as it is predicted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: ScoreMaps,
        batch: InferenceSample,
        index: int,
        loader: int = 0,
    ) -> None:
        if not np.isfinite(outputs.scores).all():
            raise ValueError(
                f"the seeds of image {outputs.image_id!r} are not finite; the checkpoint has diverged"
            )
        write_seed(self.folder, outputs)


class MaskWriter(Callback):
    """Writes the masks of each image: single-scale and multi-scale, each raw and with CRF; published ones.

    The labels of the CRF are those that occur in the raw mask; a published read-out with a CRF has its own,
    with all classes. CRFs run in a pool of processes.

    Args:
        folder: Folder of `ss-raw/`, `ms-raw/` and, with a CRF, `ss-crf/`, `ms-crf/`; and of `own-<name>/` for
            each published read-out.
        crf: CRF of the data set's protocol; None if the extension is not installed.
        workers: Processes of the pool; 0 computes in this process; None takes all that are available.
        published: The published read-outs by folder, without those that cannot be made here.
    """

    def __init__(
        self,
        folder: Path,
        crf: CRFConfig | None,
        workers: int | None,
        published: Mapping[str, PublishedReadout],
    ) -> None:
        self.folder = folder
        self.crf = crf
        self.published = published
        self.workers = workers
        self._exit = ExitStack()
        self._pool: CRFPool | None = None

    def on_predict_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.crf is not None:
            self._pool = self._exit.enter_context(CRFPool(self.crf, self.workers))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: InferenceSample,
        index: int,
        loader: int = 0,
    ) -> None:
        for scales, probabilities in outputs.items():
            if not np.isfinite(probabilities).all():
                raise ValueError(
                    f"the scores of image {batch.image_id!r} are not finite; the checkpoint has diverged"
                )
            if scales in self.published:
                self._write_published(scales, probabilities, batch)
                continue
            mask = probabilities.argmax(axis=0).astype(np.uint8)  # (H, W)
            if self._pool is not None:
                present = np.unique(mask)
                path = mask_path(self.folder / readout_folder(scales, "crf"), batch.image_id)
                self._pool.submit(batch.image_id, batch.image, probabilities[present], present, path)
            write_mask(self.folder / readout_folder(scales, "raw"), batch.image_id, mask)

    def _write_published(self, folder: str, probabilities: np.ndarray, sample: InferenceSample) -> None:
        readout = self.published[folder]
        if readout.crf is None:
            write_mask(self.folder / folder, sample.image_id, probabilities.argmax(axis=0).astype(np.uint8))
            return
        assert self._pool is not None
        values, path = np.arange(len(probabilities)), mask_path(self.folder / folder, sample.image_id)
        image = crf_image(sample.image, readout)
        self._pool.submit(sample.image_id, image, probabilities, values, path, readout.crf)

    def on_predict_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._exit.close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self._exit.close()
