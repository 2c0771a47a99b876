"""Stops a training whose gradient is not finite: from there on its weights would be NaN.

A loss that is not finite does no harm by itself. What counts is the gradient, which the camera-ready CLIMS
has where its printed loss is NaN. On a GPU the result is read every 50 steps and before a checkpoint is
written, so that no step waits for the device; no checkpoint holds a step that was not checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

INTERVAL = 50


class _Step(NamedTuple):
    number: int
    largest: Tensor  # largest absolute value in the gradient, NaN if there is one
    losses: Mapping[str, Tensor]
    image_ids: Sequence[str]


class GradientGuard:
    """Remembers the last steps until their gradients are known to be finite."""

    def __init__(self) -> None:
        self._losses: Mapping[str, Tensor] = {}
        self._image_ids: list[str] = []
        self._steps: list[_Step] = []

    def add_batch(self, losses: Mapping[str, Tensor], image_ids: Sequence[str]) -> None:
        """Remember a batch whose gradient goes into the next step."""
        self._losses = {name: loss.detach() for name, loss in losses.items()}
        self._image_ids.extend(image_ids)

    def add_step(self, parameters: Iterable[nn.Parameter], number: int) -> None:
        """Remember the gradients of a step, just before the optimiser uses them.

        Raises:
            ValueError: as in `check`.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return
        largest = torch.nn.utils.get_total_norm(gradients, math.inf)
        self._steps.append(_Step(number, largest, self._losses, self._image_ids))
        self._image_ids = []
        if largest.device.type == "cpu" or len(self._steps) == INTERVAL:
            self.check()

    def check(self) -> None:
        """Wait for the steps that were not checked yet.

        Raises:
            ValueError: a gradient is not finite; the message names losses and images of the first such step.
        """
        steps, self._steps = self._steps, []
        if not steps:
            return
        finite = torch.stack([step.largest for step in steps]).isfinite().tolist()
        for step, is_finite in zip(steps, finite, strict=True):
            if not is_finite:
                values = ", ".join(f"{name}={loss.item():g}" for name, loss in step.losses.items())
                raise ValueError(
                    f"the gradient is not finite at step {step.number}: {values}; images "
                    f"{', '.join(step.image_ids)}. Lower the learning rate, or look at these images and "
                    "their labels."
                )
