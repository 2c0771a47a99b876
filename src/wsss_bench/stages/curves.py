"""The curves of a training, `curves.csv`: what its loggers are given, against the step.

One row for each step that is logged (`trainer.log_every_n_steps`), for each validation and for the end of
each epoch; a value that was not logged at a step is an empty cell. The file is written before each
checkpoint, so that a training that goes on from one finds the rows up to it, and drops those after it.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from wsss_bench.artifacts.curves import EPOCH, STEP, read_rows
from wsss_bench.artifacts.files import write_bytes
from wsss_bench.stages.measures import StepMeasures

SECONDS = 30.0
"""Between two writes of the file while an epoch runs."""

Row = dict[str, Any]


class Curves(Logger, Callback):
    """A logger of Lightning that keeps what it is given, and a callback that adds the rest and writes.

    It is a logger, so that a value is copied from the device when other loggers need it, and not once more.
    `step` counts the steps that are done, as checkpoints do.

    Args:
        path: The file; None for ranks other than 0, which write nothing.
        measures: Has the learning rates, which every row shows.
    """

    def __init__(self, path: Path | None, measures: StepMeasures) -> None:
        super().__init__()
        self._path = path
        self._measures = measures
        self._rows: dict[int, Row] = {}
        self._written = time.monotonic()

    @property
    def name(self) -> str:
        """As Lightning asks of a logger."""
        return "curves"

    @property
    def version(self) -> str:
        """As Lightning asks of a logger; there is one version, the file."""
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """The configuration is in files of its own."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep the values of a step; Lightning calls this on rank 0 and other ranks alike."""
        self._add(metrics)
        if time.monotonic() - self._written > SECONDS:
            self._write()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the rows up to the checkpoint that the training goes on from."""
        if self._path is not None and trainer.global_step > 0:
            self._rows = {step: row for step, row in _earlier(self._path) if step <= trainer.global_step}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the losses of the last step, so that an epoch of a few steps has a row too."""
        losses = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")}
        self._add({EPOCH: trainer.current_epoch, **losses})

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._write()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._write()

    def _add(self, values: Mapping[str, float]) -> None:
        if self._path is None:
            return
        step = self._trainer.global_step
        self._rows.setdefault(step, {STEP: step}).update({**values, **self._measures.learning_rates})

    def _write(self) -> None:
        if self._path is None:
            return
        names = sorted({name for row in self._rows.values() for name in row} - {STEP, EPOCH})
        text = io.StringIO()
        table = csv.DictWriter(text, [STEP, EPOCH, *names], restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows[step] for step in sorted(self._rows))
        write_bytes(self._path, text.getvalue().encode())
        self._written = time.monotonic()


def _earlier(path: Path) -> list[tuple[int, Row]]:
    """The rows that are there. A file that cannot be read costs these only, not the training."""
    try:
        return read_rows(path)
    except ValueError as error:
        print(f"the curves of earlier attempts are lost, since {error}", flush=True)
        return []
