"""Checkpoints inside an epoch: every few minutes, and when a signal asks the training to stop.

A checkpoint is written between two steps, when everything that belongs to the step before is done: its
losses are logged, a validation after it is over, a teacher is updated. The training that goes on from it
skips the batches of the epoch that are done (`data.datamodule`) and draws the same random numbers, so that it
ends with the weights of an uninterrupted one.

With several ranks, all must write at the same step. Rank 0 has the clock, and a signal may reach any rank.
So before each step the ranks exchange one number, from host to host: a GPU is not waited for.
"""

from __future__ import annotations

import signal
import threading
import time
from enum import IntEnum
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops import _FitLoop, _Loop
from torch import distributed

from wsss_bench.stages.checkpoints import LastCheckpoint
from wsss_bench.stages.random_states import States, random_states, set_random_states

MINUTES = 10.0
"""Between two checkpoints, at most, if a step takes less."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What batch systems send at the end of a job, or before it."""
RANDOM_STATES = "random_states"
"""Where a checkpoint holds the random states of all ranks, in their order."""


class TrainingStopped(SystemExit):
    """A signal has ended a training between two steps, and its checkpoint is written.

    Args:
        number: The signal.
        step: Steps that are done.
        steps: Steps in all.
    """

    def __init__(self, number: int, step: int, steps: int) -> None:
        self.exit_status = 128 + signal.SIGTERM  # whichever it was: the same command goes on
        super().__init__(self.exit_status)
        self.sentence = (
            f"stopped by {signal.Signals(number).name} after step {step} of {steps}; "
            "the same command goes on from there"
        )


class Wish(IntEnum):
    """What a rank wants before a step; the greatest wish of all ranks is what all do."""

    GO_ON = 0
    CHECKPOINT = 1
    STOP = 2


class InsideEpoch(Callback):
    """Writes checkpoints between the steps of an epoch. It must be the first of the callbacks.

    Args:
        last: Writes the checkpoint, here and at the end of each epoch.
        minutes: Between two checkpoints.
    """

    def __init__(self, last: LastCheckpoint, minutes: float) -> None:
        self._last = last
        self._seconds = 60 * minutes
        self._signal: int | None = None
        self._hosts: Any = None  # a process group
        self._between_steps = False
        self._states_to_set: list[States] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals from Lightning, whose handler asks rank 0 through the GPU at each step."""
        self._last.mark(trainer)
        if trainer.fit_loop.restarted_on_epoch_end:
            begin_next_epoch(trainer.fit_loop)
        if trainer.world_size > 1:
            self._hosts = distributed.new_group(backend="gloo")
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        if trainer.received_sigterm:  # before this was called
            self._signal = signal.SIGTERM
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._note)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the method sets the random seed of the epoch."""
        self._set_states(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Between two steps.

        Raises:
            TrainingStopped: a signal has arrived, and the checkpoint is written.
        """
        self._set_states(trainer)
        wish = self._wish_of_all(trainer)
        if wish > Wish.GO_ON and trainer.global_step > self._last.step:
            self._between_steps = True
            self._last.save(trainer)
            self._between_steps = False
        if wish == Wish.STOP:
            steps = int(trainer.estimated_stepping_batches)
            raise TrainingStopped(self._signal or signal.SIGTERM, trainer.global_step, steps)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on there is nothing to write: a signal ends the process."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the random states of all ranks; Lightning calls this on every rank."""
        states: list[Any] = [random_states(trainer.strategy.root_device)]
        if self._hosts is not None:
            own, states = states[0], [None] * trainer.world_size
            distributed.all_gather_object(states, own, group=self._hosts)
        checkpoint[RANDOM_STATES] = states
        if self._between_steps:
            as_at_the_end_of_a_step(checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the random states until the first step, since other callbacks may draw before it."""
        self._states_to_set = checkpoint.get(RANDOM_STATES, [])

    def _set_states(self, trainer: Trainer) -> None:
        if trainer.global_rank < len(self._states_to_set):
            set_random_states(self._states_to_set[trainer.global_rank], trainer.strategy.root_device)
        self._states_to_set = []

    def _wish_of_all(self, trainer: Trainer) -> Wish:
        wish = Wish.GO_ON
        if self._signal is not None:
            wish = Wish.STOP
        elif trainer.is_global_zero and time.monotonic() - self._last.written > self._seconds:
            wish = Wish.CHECKPOINT
        if self._hosts is None:
            return wish
        greatest = torch.tensor(wish)
        distributed.all_reduce(greatest, distributed.ReduceOp.MAX, self._hosts)
        return Wish(int(greatest))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number


def begin_next_epoch(loop: _FitLoop) -> None:
    """Let a training with `max_steps` go on from the end of an epoch as one with `max_epochs` does.

    Lightning (2.6.6) takes the end of the epoch for its middle there, and would run it a second time.
    """
    _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]
    loop.reset_restart_stage()
    loop.epoch_progress.increment_completed()


def as_at_the_end_of_a_step(loops: dict[str, Any]) -> None:
    """Write the progress of Lightning's loops as it is at the end of a step, the last place in a step where
    Lightning expects a checkpoint (2.6.6).

    Between two steps it has begun to count the next batch, and has counted the last one for its loggers. When
    it goes on it counts the last one for them again, so that they would be a step ahead.

    Args:
        loops: State of the fit loop; changed in place.
    """
    progress = loops["epoch_loop.batch_progress"]
    for part in (progress["total"], progress["current"]):
        part["ready"] = part["processed"]
        part["completed"] = part["processed"] - 1
    progress["is_last_batch"] = False
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
