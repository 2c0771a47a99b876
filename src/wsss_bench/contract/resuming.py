"""The check that a training that is stopped inside an epoch ends as an uninterrupted one does."""

from __future__ import annotations

import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from wsss_bench.artifacts.layout import LAST
from wsss_bench.contract.outcome import Failure
from wsss_bench.contract.subject import Subject
from wsss_bench.contract.trial_stages import run
from wsss_bench.stages import fit

STEPS, STOP = 4, 2
"""Steps of the epoch, and how many are done when it is stopped."""


class StopOnce(Callback):
    """Sends this process SIGTERM inside an epoch, as a batch system does; not when the training goes on."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """After step `STOP`."""
        if trainer.global_step == STOP:
            signal.raise_signal(signal.SIGTERM)


def a_stopped_training_ends_as_an_uninterrupted_one(subject: Subject) -> None:
    """A training that is stopped inside an epoch and started again has the weights of one that was not.

    What a method keeps from step to step outside of its parameters, buffers and optimiser shows as a
    difference, and so do random numbers from a generator of its own.
    """
    trainer = {"max_epochs": 1, "limit_train_batches": STEPS, "limit_val_batches": 0}
    with TemporaryDirectory() as name:
        whole, stopped = Path(name) / "whole", Path(name) / "stopped"
        run(fit, Path(name), subject.config(whole, trainer=trainer))
        callback = f"{StopOnce.__module__}.{StopOnce.__name__}"
        content = subject.config(stopped, trainer={**trainer, "callbacks": [callback]})
        run(fit, Path(name), content)
        done = _read(stopped)["global_step"]
        if done != STOP:
            raise Failure(f"the training was stopped after {done} steps; expected {STOP}")
        run(fit, Path(name), content)
        expected, found = (_read(folder)["state_dict"] for folder in (whole, stopped))
    for key, value in expected.items():
        if not torch.equal(value.nan_to_num(), found[key].nan_to_num()):
            raise Failure(
                f"{key} differs from an uninterrupted training after one that was stopped and went on; keep "
                "what lasts from step to step in parameters or buffers, and draw random numbers from the "
                "global generators of torch, NumPy or Python, or from the images and `self.global_step`"
            )


def _read(stage: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(stage / LAST, weights_only=True)
    return content
