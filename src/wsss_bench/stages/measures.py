"""What the curves of a training show besides its losses: learning rates, gradient norm, images per second.

They are measured at the steps that are logged, and logged as a method logs its losses, so that every logger
gets them in the same row. Nothing here draws random numbers or changes a gradient.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from wsss_bench.types import Batch

POINTS = 50
"""Logged steps that a training has at least, where it has so many."""
LONGEST_INTERVAL = 50
"""Steps between two logged ones at most; Lightning's default."""


class StepMeasures(Callback):
    """Logs `lr/<group>`, `gradient_norm` (before clipping) and `images_per_second` (of all ranks).

    Args:
        chooses_interval: Whether it chooses how many steps are logged, which the user has not set
            (`trainer.log_every_n_steps`).

    Attributes:
        learning_rates: Those of the current step, by name.
    """

    def __init__(self, chooses_interval: bool) -> None:
        self.learning_rates: dict[str, float] = {}
        self._chooses_interval = chooses_interval
        self._norm: Tensor | None = None
        self._images = 0
        self._since = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._chooses_interval:  # until the number of steps is known; else Lightning warns of too few
            set_interval(trainer, 1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._chooses_interval:
            steps = int(trainer.estimated_stepping_batches)
            set_interval(trainer, min(max(steps // POINTS, 1), LONGEST_INTERVAL))
        self._start_clock()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start_clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start_clock()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._start_clock()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self.learning_rates = {f"lr/{index}": float(group["lr"]) for index, group in enumerate(groups)}

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        interval = interval_of(trainer)  # 0: no step is logged
        if interval and (trainer.global_step + 1) % interval == 0:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self._norm = torch.nn.utils.get_total_norm(gradients)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._images += len(batch.image_ids) * trainer.world_size
        if self._norm is None:
            return
        seconds = time.monotonic() - self._since
        pl_module.log_dict(dict(self.learning_rates), batch_size=1)
        pl_module.log("gradient_norm", self._norm, batch_size=1)
        pl_module.log("images_per_second", self._images / seconds, batch_size=1)
        self._norm = None
        self._start_clock()

    def _start_clock(self) -> None:
        self._images, self._since = 0, time.monotonic()


def interval_of(trainer: Trainer) -> int:
    """Steps from one logged step to the next; 0 if none is logged."""
    return int(trainer.log_every_n_steps)  # type: ignore[attr-defined]


def set_interval(trainer: Trainer, steps: int) -> None:
    """Log every so many steps."""
    trainer.log_every_n_steps = steps  # type: ignore[attr-defined]
