"""Losses and pseudo labels in float32, whatever the precision of the network.

In bfloat16 the numbers next to 1 are 0.996 and 1.008: a clamp to 0.9999 gives 1, and the logarithm of
1 - 1 is infinite. Cosines near 1, probabilities near 0 and small differences of large sums are what losses
are made of, and their cost is small. Every loss function of this package therefore has the decorator here,
and so has what makes pseudo labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Batch = TypeVar("Batch")


class OnDevice(Protocol):
    """What says where it computes, such as a method."""

    @property
    def device(self) -> torch.device:
        """Of its parameters."""


Model = TypeVar("Model", bound=OnDevice)


def in_float32(loss: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: half precision tensors among the arguments become float32, and autocast is off inside.

    Tensors may be arguments or elements of tuples and lists. Other types, float64 included, stay as they are.
    Gradients arrive in the precision of the arguments.
    """

    @wraps(loss)
    def in_full_precision(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        devices = {tensor.device.type for tensor in _tensors([*args, *kwargs.values()])}
        device = next(iter(devices - {"cpu"}), "cpu")
        full = {name: _raised(value) for name, value in kwargs.items()}
        with torch.autocast(device, enabled=False):
            return loss(*map(_raised, args), **full)  # type: ignore[arg-type]

    return in_full_precision


def step_in_float32(
    training_loss: Callable[[Model, Batch], dict[str, Tensor]],
) -> Callable[[Model, Batch], dict[str, Tensor]]:
    """Decorator of `training_loss`: training is in float32 in every precision; predictions are not concerned.

    For methods that lose more than half a point in bfloat16 on the mini world: MCIS 3 to 5, WeCLIP 1
    (`docs/log/measured_once.md`). Both are published in float32.
    """

    @wraps(training_loss)
    def in_full_step(method: Model, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(method.device.type, enabled=False):
            return training_loss(method, batch)

    return in_full_step


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is that."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _raised(value: Any) -> Any:
    """The value with its half precision tensors in float32."""
    if isinstance(value, Tensor):
        return at_least_float32(value) if value.is_floating_point() else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_raised, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(_raised, value))
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
