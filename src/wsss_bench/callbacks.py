"""Lightning callbacks of the stages: signals, progress of a run, and predictions written image by image."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from wsss_bench.artifacts.disk import WatchedFolder
from wsss_bench.artifacts.files import mask_path, write_mask
from wsss_bench.artifacts.layout import readout_folder
from wsss_bench.artifacts.run import StageRun
from wsss_bench.artifacts.seeds import SeedShards
from wsss_bench.crf.densecrf import CRFConfig, CRFPool, Unary
from wsss_bench.crf.pool import WriterThread
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


class PlainSignals(Callback):
    """Lets SIGTERM end the process at once, as it ends any other.

    Lightning's handler only makes a note of it, which a prediction never reads and a training reads after its
    step, and with several ranks it waits for all of them. A stage has nothing to tidy up: each of its files
    is complete or absent.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore(trainer)

    def _restore(self, trainer: Trainer) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if trainer.received_sigterm:  # before this was called
            signal.raise_signal(signal.SIGTERM)


class ImageWriter(Callback):
    """Base of the callbacks that write files of each image, while the next one is computed.

    Args:
        folder: Folder of the files, in the folder of the stage.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._exit = ExitStack()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stage = WatchedFolder(self.folder.parent)
        self._thread = self._exit.enter_context(WriterThread())

    def write(self, image_id: str, write: Callable[..., None], *arguments: Any) -> None:
        """Call `write(*arguments)`, which writes a file of the image, in the thread of the writer."""
        self._thread.run(image_id, self._checked, write, *arguments)

    def _checked(self, write: Callable[..., None], *arguments: Any) -> None:
        self._stage.check()
        write(*arguments)

    def on_predict_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._exit.close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        # with the error, so that images that are not under way yet are left out
        self._exit.__exit__(type(exception), exception, exception.__traceback__)


class SeedWriter(ImageWriter):
    """Writes the seed of each image as soon as it is predicted, into the shards of this rank."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # entered before the thread that writes to them, and so closed after it
        self._seeds = self._exit.enter_context(SeedShards(self.folder, trainer.global_rank))
        super().on_predict_start(trainer, pl_module)

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
        self.write(outputs.image_id, self._seeds.write, outputs)


class MaskWriter(ImageWriter):
    """Writes the masks of each image: single-scale and multi-scale, each raw and with CRF; published ones.

    The maximum over classes is taken on the device of the scores. The labels of the CRF are those that occur
    in the raw mask, and their scores alone are moved; a published read-out with a CRF has its own, with all
    classes. CRFs run in a pool of processes.

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
        super().__init__(folder)
        self.crf = crf
        self.published = published
        self.workers = workers
        self._pool: CRFPool | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_predict_start(trainer, pl_module)
        if self.crf is not None:
            self._pool = self._exit.enter_context(CRFPool(self.crf, self.workers))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: dict[str, Tensor],
        batch: InferenceSample,
        index: int,
        loader: int = 0,
    ) -> None:
        self._stage.check()
        unaries: list[Unary] = []
        for scales, probabilities in outputs.items():
            best, index_of_best = probabilities.max(dim=0)  # (H, W), the first of equal maxima
            if not best.isfinite().all():  # one NaN among the classes of a pixel is their maximum
                raise ValueError(
                    f"the scores of image {batch.image_id!r} are not finite; the checkpoint has diverged"
                )
            mask = index_of_best.byte().cpu().numpy()
            if scales in self.published:
                self._write_published(scales, probabilities, mask, batch)
                continue
            self.write(
                batch.image_id, write_mask, self.folder / readout_folder(scales, "raw"), batch.image_id, mask
            )
            if self._pool is not None:
                present = np.flatnonzero(np.bincount(mask.ravel()))
                path = mask_path(self.folder / readout_folder(scales, "crf"), batch.image_id)
                unaries.append(Unary(probabilities[present].cpu().numpy(), present, path))
        if self._pool is not None:
            self._pool.submit(batch.image_id, batch.image, unaries)

    def _write_published(
        self, folder: str, probabilities: Tensor, mask: np.ndarray, sample: InferenceSample
    ) -> None:
        readout = self.published[folder]
        if readout.crf is None:
            self.write(sample.image_id, write_mask, self.folder / folder, sample.image_id, mask)
            return
        assert self._pool is not None
        values, path = np.arange(len(probabilities)), mask_path(self.folder / folder, sample.image_id)
        unary = Unary(probabilities.cpu().numpy(), values, path)
        self._pool.submit(sample.image_id, crf_image(sample.image, readout), [unary], readout.crf)
