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
from wsss_bench.artifacts.files import write_mask
from wsss_bench.artifacts.layout import readout_folder
from wsss_bench.artifacts.probabilities import LEAST, STEPS, LabelMaps, ProbabilityShards
from wsss_bench.artifacts.run import StageRun
from wsss_bench.artifacts.seeds import SeedShards
from wsss_bench.crf.pool import WriterThread
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


class PredictedMask(NamedTuple):
    """What is written of the segmentation of an image, off the device, which then has room for the next."""

    mask: np.ndarray  # (H, W) uint8, the first of equal maxima
    for_crf: LabelMaps | None  # the probabilities that a CRF takes, where one is wanted


def predicted_mask(
    image_id: str, probabilities: Tensor, for_crf: Literal["none", "present", "all"]
) -> PredictedMask:
    """Take the maximum over classes on the device of the probabilities, and move only what is written.

    Two waits for the device: the mask says which probabilities are kept.

    Args:
        image_id: For messages.
        probabilities: `(1 + C, H, W)`.
        for_crf: Labels whose probabilities are kept; `present`: those in the mask.

    Raises:
        ValueError: a probability is not finite.
    """
    best, index_of_best = probabilities.max(dim=0)  # (H, W)
    finite = best.isfinite().all()  # one NaN among the classes of a pixel is their maximum
    mask, is_finite = to_host([index_of_best.byte(), finite.byte()])
    if not is_finite:
        raise ValueError(f"the scores of image {image_id!r} are not finite; the checkpoint has diverged")
    if for_crf == "none":
        return PredictedMask(mask, None)
    labels = np.arange(len(probabilities))
    if for_crf == "present":
        labels = np.flatnonzero(np.bincount(mask.ravel()))
        probabilities = probabilities[to_device(torch.from_numpy(labels), probabilities.device)]
    (levels,) = to_host([probabilities.clamp(LEAST, 1).log().mul(-STEPS).round().short()])
    return PredictedMask(mask, LabelMaps(labels.astype(np.uint8), levels.view(np.uint16)))


class MaskWriter(ImageWriter):
    """Writes the masks of each image, single-scale, multi-scale and published ones, and what CRFs take.

    A CRF of the protocol takes the probabilities of the labels that occur in the raw mask; a published
    read-out with a CRF those of all classes, and has no mask of its own here.

    Args:
        folder: Folder of `ss-raw/`, `ms-raw/`, and `own-<name>/` for each published read-out without CRF.
        probabilities: Folder of what CRFs take.
        published: The published read-outs by folder.
    """

    def __init__(self, folder: Path, probabilities: Path, published: Mapping[str, PublishedReadout]) -> None:
        super().__init__(folder)
        self.probabilities = probabilities
        self.published = published

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # entered before the thread that writes to them, and so closed after it
        self._shards = self._exit.enter_context(ProbabilityShards(self.probabilities, trainer.global_rank))
        super().on_predict_start(trainer, pl_module)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Sequence[Mapping[str, PredictedMask]],
        batch: Sequence[InferenceSample],
        index: int,
        loader: int = 0,
    ) -> None:
        for sample, masks in zip(batch, outputs, strict=True):
            self.write(sample.image_id, self._write_image, sample.image_id, masks)

    def _write_image(self, image_id: str, predicted: Mapping[str, PredictedMask]) -> None:
        for_crf = {name: one.for_crf for name, one in predicted.items() if one.for_crf is not None}
        if for_crf:
            self._shards.write(image_id, for_crf)
        for name, one in predicted.items():
            if name not in self.published:
                write_mask(self.folder / readout_folder(name, "raw"), image_id, one.mask)
            elif name not in for_crf:
                write_mask(self.folder / name, image_id, one.mask)
