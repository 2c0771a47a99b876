"""Lightning callbacks of the stages: signals, progress of a run, and predictions written image by image.

A batch of a prediction is a list of images, and its outputs are a list in the same order, so that files are
written in the order of the images whatever went through the network together.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
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
from wsss_bench.published_probabilities import crf_image
from wsss_bench.published_readout import PublishedReadout
from wsss_bench.transfer import to_device, to_host
from wsss_bench.types import InferenceSample, ScoreMaps


class Progress(Callback):
    """Writes the progress of a stage to `progress.json`, and to the log each epoch or every 30 s.

    Args:
        run: The open stage.
        images: Number of images to predict, of all ranks together.
    """

    def __init__(self, run: StageRun, images: int = 0) -> None:
        self.run = run
        self.images = images
        self._predicted = 0
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
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: Sequence[InferenceSample],
        index: int,
        loader: int = 0,
    ) -> None:
        self._predicted += len(batch)
        total = math.ceil(self.images / trainer.world_size)  # of this rank, the first one
        self.run.progress(self._predicted, total, "images")
        if time.monotonic() - self._printed > 30 or index + 1 == sum(trainer.num_predict_batches):
            self._printed = time.monotonic()
            print(f"{self._predicted}/{total} images", flush=True)


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
        outputs: Sequence[ScoreMaps],
        batch: Sequence[InferenceSample],
        index: int,
        loader: int = 0,
    ) -> None:
        for maps in outputs:
            if not np.isfinite(maps.scores).all():
                raise ValueError(
                    f"the seeds of image {maps.image_id!r} are not finite; the checkpoint has diverged"
                )
            self.write(maps.image_id, self._seeds.write, maps)


class MaskScores(NamedTuple):
    """What is written of the segmentation of an image, off the device, which then has room for the next."""

    mask: np.ndarray  # (H, W) uint8, the first of equal maxima
    values: np.ndarray  # (K,) mask values whose probabilities are kept for a CRF
    probabilities: np.ndarray  # (K, H, W) float32


def mask_scores(image_id: str, probabilities: Tensor, kept: Literal["none", "present", "all"]) -> MaskScores:
    """Take the maximum over classes on the device of the probabilities, and move only what is kept.

    Two waits for the device: the mask says which probabilities are kept.

    Args:
        image_id: For messages.
        probabilities: `(1 + C, H, W)`.
        kept: Classes whose probabilities are kept; `present`: those in the mask.

    Raises:
        ValueError: a probability is not finite.
    """
    best, index_of_best = probabilities.max(dim=0)  # (H, W)
    finite = best.isfinite().all()  # one NaN among the classes of a pixel is their maximum
    mask, is_finite = to_host([index_of_best.byte(), finite.byte()])
    if not is_finite:
        raise ValueError(f"the scores of image {image_id!r} are not finite; the checkpoint has diverged")
    values = np.arange(0 if kept == "none" else len(probabilities))
    if kept == "none":
        return MaskScores(mask, values, np.empty((0, *mask.shape), np.float32))
    if kept == "present":
        values = np.flatnonzero(np.bincount(mask.ravel()))
        probabilities = probabilities[to_device(torch.from_numpy(values), probabilities.device)]
    return MaskScores(mask, values, *to_host([probabilities]))


class MaskWriter(ImageWriter):
    """Writes the masks of each image: single-scale and multi-scale, each raw and with CRF; published ones.

    The labels of the CRF are those that occur in the raw mask; a published read-out with a CRF has its own,
    with all classes. CRFs run in a pool of processes.

    Args:
        folder: Folder of `ss-raw/`, `ms-raw/` and, with a CRF, `ss-crf/`, `ms-crf/`; and of `own-<name>/` for
            each published read-out.
        crf: CRF of the data set's protocol; None: no masks with it.
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
        used = [self.crf, *(readout.crf for readout in self.published.values())]
        settings = [crf for crf in used if crf is not None]
        if settings and self._pool is None:
            self._pool = self._exit.enter_context(CRFPool(settings[0], self.workers))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Sequence[Mapping[str, MaskScores]],
        batch: Sequence[InferenceSample],
        index: int,
        loader: int = 0,
    ) -> None:
        for sample, scores in zip(batch, outputs, strict=True):
            self.submit(sample, self.write_masks(sample, scores))

    def use_pool_of(self, other: MaskWriter) -> None:
        """Compute CRFs in the pool of another writer, which was started before and ends after this one."""
        self._pool = other._pool

    def submit(self, sample: InferenceSample, unaries: Sequence[Unary]) -> None:
        """Make masks with the CRF of the protocol; one call for an image is cheaper than several."""
        if unaries:
            assert self._pool is not None
            self._pool.submit(sample.image_id, sample.image, unaries)

    def write_masks(self, sample: InferenceSample, outputs: Mapping[str, MaskScores]) -> list[Unary]:
        """Write the masks of an image; returns what those with the CRF of the protocol are made from."""
        self._stage.check()
        unaries: list[Unary] = []
        for scales, scores in outputs.items():
            if scales in self.published:
                self._write_published(scales, scores, sample)
                continue
            folder = self.folder / readout_folder(scales, "raw")
            self.write(sample.image_id, write_mask, folder, sample.image_id, scores.mask)
            if self.crf is not None:
                path = mask_path(self.folder / readout_folder(scales, "crf"), sample.image_id)
                unaries.append(Unary(scores.probabilities, scores.values, path))
        return unaries

    def _write_published(self, folder: str, scores: MaskScores, sample: InferenceSample) -> None:
        readout = self.published[folder]
        if readout.crf is None:
            self.write(sample.image_id, write_mask, self.folder / folder, sample.image_id, scores.mask)
            return
        assert self._pool is not None
        unary = Unary(scores.probabilities, scores.values, mask_path(self.folder / folder, sample.image_id))
        self._pool.submit(sample.image_id, crf_image(sample.image, readout), [unary], readout.crf)
