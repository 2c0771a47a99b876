"""Checks of `training_loss`: its terms, their precision, and that it teaches the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from wsss_bench.contract.outcome import Failure
from wsss_bench.contract.subject import STEPS, Subject, train
from wsss_bench.inference import logits_of, seeds_of
from wsss_bench.methods.base import Method
from wsss_bench.types import IGNORE, MaskBatch

LOGARITHMS = {
    *("log", "log1p", "logsumexp", "logaddexp", "log_softmax", "logsigmoid", "softplus", "nll_loss"),
    *("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits"),
    "multilabel_soft_margin_loss",
}
"""Functions that lose their small values in bfloat16."""


def losses_are_scalars_of_at_least_zero(subject: Subject) -> None:
    """`training_loss` returns finite scalars >= 0, so that a turned sign cannot hide in a sum of terms."""
    for late in (False, True):
        method = subject.fresh(late=late).train()
        losses = method.training_loss(subject.batch)
        if not isinstance(losses, dict) or not losses:
            raise Failure(
                f"training_loss returned {type(losses).__name__}; expected a dict of loss terms by name"
            )
        for name, loss in losses.items():
            if not isinstance(loss, Tensor) or loss.ndim:
                found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
                raise Failure(
                    f"loss term {name!r} is {found}; expected a tensor without dimensions, take its mean"
                )
            if not torch.isfinite(loss):
                raise Failure(
                    f"loss term {name!r} is {loss.item()} at the first step; look for a division by zero or "
                    "the logarithm of 0"
                )
            if loss < -1e-6:
                raise Failure(
                    f"loss term {name!r} is {loss.item():.3g}, below 0: turn its sign, or add a constant "
                    "that makes its lowest value 0 (1 - cosine)"
                )


def a_few_steps_lower_the_loss(subject: Subject) -> None:
    """A few steps on one batch lower the sum of its loss terms, with the method's own optimiser."""
    _, values = subject.trained
    if not values[-1] < values[0]:
        raise Failure(
            f"{STEPS} steps on one batch took the loss from {values[0]:.4g} to {values[-1]:.4g}; lower "
            "optim.lr, or look for a term whose gradient does not follow its value (detach, no_grad)"
        )


def steps_teach_the_classes(subject: Subject) -> None:
    """Steps of the method raise the scores of true classes over others more than steps that climb its loss.

    A loss with a turned sign falls, too, so its value alone says nothing.
    """
    before = class_margin(subject.fresh(late=True), subject)
    descended = class_margin(subject.trained[0], subject)
    if descended >= before:
        return
    climbing = subject.fresh(late=True)
    train(climbing, subject.batch, STEPS, sign=-1.0)
    climbed = class_margin(climbing, subject)
    if climbed > before:
        raise Failure(
            f"{STEPS} steps took the scores of the true classes, less those of the others, from {before:.4g} "
            f"to {descended:.4g}, and steps that climb the loss to {climbed:.4g}: the sign of the loss is "
            "turned; return losses that are to be minimised"
        )


def class_margin(method: Method, subject: Subject) -> float:
    """How much higher the method scores what is true in the training batch than what is not."""
    method.eval()
    images, labels = subject.images
    with torch.no_grad():
        if isinstance(subject.batch, MaskBatch):
            mask = subject.batch.mask
            logits = F.interpolate(logits_of(method, images).float(), mask.shape[1:], mode="bilinear")
            return -F.cross_entropy(logits, mask, ignore_index=IGNORE).item()
        scores = method.class_logits(images)
        if scores is None and "seed" in subject.products:
            scores = seeds_of(method, images, labels)[:, -labels.shape[1] :].mean(dim=(2, 3))
        elif scores is None:
            scores = logits_of(method, images)[:, 1:].mean(dim=(2, 3))
    return (scores[labels > 0].mean() - scores[labels == 0].mean()).item()


class HalfPrecision(TorchFunctionMode):
    """Collects the logarithms of a loss: `seen` are all of them, `found` those that run in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.found: set[str] = set()

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        tensors = [value for value in args if isinstance(value, Tensor)]
        if name in LOGARITHMS and any(tensor.requires_grad for tensor in tensors):
            self.seen.add(name)
            half = any(tensor.dtype == torch.bfloat16 for tensor in tensors)
            if half or torch.is_autocast_enabled("cpu"):
                self.found.add(name)
        return function(*args, **(kwargs or {}))


def losses_run_in_float32(subject: Subject) -> None:
    """Logarithms of losses run in float32 where the networks run in bfloat16."""
    method = subject.fresh(late=True).train()
    with torch.autocast("cpu", torch.bfloat16), HalfPrecision() as losses:
        values = method.training_loss(subject.batch)
    if losses.found:
        raise Failure(
            f"{', '.join(sorted(losses.found))} of the loss runs in bfloat16 under autocast; give the "
            "function of the loss the decorator `in_float32` of wsss_bench.nn.precision"
        )
    broken = [name for name, value in values.items() if not torch.isfinite(value)]
    if broken:
        raise Failure(
            f"loss terms {', '.join(broken)} are not finite in bfloat16; give their functions `in_float32`"
        )
