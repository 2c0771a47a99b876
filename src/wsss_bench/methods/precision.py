"""Training in float32, whatever the precision of the trainer.

For methods that lose more than half a point in bfloat16 on the mini world: MCIS 3 to 5, WeCLIP 1
(`docs/log/measured_once.md`). Both are published in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch
from torch import Tensor

from wsss_bench.methods.base import Method

Model = TypeVar("Model", bound=Method)
Batch = TypeVar("Batch")


def step_in_float32(
    training_loss: Callable[[Model, Batch], dict[str, Tensor]],
) -> Callable[[Model, Batch], dict[str, Tensor]]:
    """Decorator of `training_loss`: autocast is off inside. Predictions are not concerned."""

    @wraps(training_loss)
    def in_float32(method: Model, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(method.device.type, enabled=False):
            return training_loss(method, batch)

    return in_float32
