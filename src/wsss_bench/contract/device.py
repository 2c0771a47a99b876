"""Checks that a method is ready for a GPU, made on a CPU (`device_watch.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wsss_bench.contract.device_watch import DeviceWatch
from wsss_bench.contract.outcome import Failure
from wsss_bench.contract.subject import Subject, total
from wsss_bench.inference import logits_of, seeds_of

SHOWN = 5


def steps_do_not_wait_for_a_gpu(subject: Subject) -> None:
    """Forward and backward pass of a step read nothing back, and wait for no copy.

    `bench.contract.steps_do_not_wait_for_a_gpu: {waits: N, reason: ...}` allows N of them in a step.
    """
    for late in (False, True):
        _require_few(_watched_step(subject, late).waits, subject, "steps_do_not_wait_for_a_gpu")


def steps_stay_on_their_device(subject: Subject) -> None:
    """In a step no tensor that was made without `device=` meets one of the batch or of the method."""
    for late in (False, True):
        _require_one_device(_watched_step(subject, late))


def maps_do_not_wait_for_a_gpu(subject: Subject) -> None:
    """Maps read nothing back and stay on their device.

    `bench.contract.maps_do_not_wait_for_a_gpu: {waits: N, reason: ...}` allows N waits for a batch.
    """
    images, labels = subject.images
    method = subject.fresh(late=True).eval()
    with torch.no_grad():
        for product in subject.products:
            for _ in range(2):  # the first time something may be read that is remembered
                with DeviceWatch() as watch:
                    if product == "seed":
                        seeds_of(method, images, labels)
                    else:
                        logits_of(method, images)
            _require_one_device(watch)
            _require_few(watch.waits, subject, "maps_do_not_wait_for_a_gpu")


def tensors_move_with_the_method(subject: Subject) -> None:
    """Every tensor of the method, in its modules and in what they hold, goes to a device with it."""
    method = subject.fresh().to("meta")
    left = sorted({name for name, tensor in held_tensors(method, "") if not tensor.is_meta})
    if left:
        raise Failure(
            f"{', '.join(left[:SHOWN])} stays where it is when the method moves to a device; make it a "
            "buffer (self.register_buffer(name, tensor, persistent=False)), or put the module in Frozen"
        )


def held_tensors(holder: Any, name: str, seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """All tensors that a module holds, in containers and objects too, with their names."""
    seen = set() if seen is None else seen
    if isinstance(holder, Tensor):
        yield name, holder
    if isinstance(holder, (Tensor, type, str)) or id(holder) in seen:
        return
    seen.add(id(holder))
    if isinstance(holder, Mapping):
        parts = [(f"{name}.{key}", part) for key, part in holder.items()]
    elif isinstance(holder, (list, tuple, set)):
        parts = [(f"{name}[{number}]", part) for number, part in enumerate(holder)]
    else:
        parts = _attributes(holder, name)
    for part_name, part in parts:
        yield from held_tensors(part, part_name, seen)


def _attributes(holder: Any, name: str) -> list[tuple[str, Any]]:
    of_libraries = type(holder).__module__.startswith(("torch.", "lightning.", "transformers.", "tokenizers"))
    if not hasattr(holder, "__dict__") or (of_libraries and not isinstance(holder, nn.Module)):
        return []
    inner = {"_parameters", "_buffers", "_modules"} if isinstance(holder, nn.Module) else set()
    before = f"{name}." if name else ""
    parts = [(name if key in inner else f"{before}{key}", part) for key, part in vars(holder).items()]
    return [(key.lstrip("."), part) for key, part in parts]


def _watched_step(subject: Subject, late: bool) -> DeviceWatch:
    method, batch = subject.fresh(late=late).train(), subject.batch
    method.training_loss(batch)  # what is remembered from the first step on
    with DeviceWatch() as watch:
        total(method.training_loss(batch)).backward()
        method.on_after_backward()
        with torch.no_grad():
            method.after_step()
    return watch


def _require_few(waits: Counter[str], subject: Subject, check: str) -> None:
    deviation = subject.deviation(check)
    allowed = 0 if deviation is None else deviation.waits or 0
    if waits.total() > allowed:
        raise Failure(
            f"{waits.total()} waits for the device{f' ({allowed} allowed)' if allowed else ''}: "
            f"{_listed(waits)}. Use masks and sums (torch.where, mean_over_valid) in place of bool indices, "
            "numbers of the batch that are on the host (batch.num_labels), device= where tensors are made, "
            "and to_device of wsss_bench.transfer for copies; or state bench.contract."
            f"{check}: {{waits: {waits.total()}, reason: ...}}"
        )


def _require_one_device(watch: DeviceWatch) -> None:
    if watch.mixtures:
        raise Failure(
            f"tensors of the host meet those of the device: {_listed(watch.mixtures)}. Make them with "
            "device=..., or once as a buffer"
        )


def _listed(found: Counter[str]) -> str:
    lines = [f"{place} ({count}x)" if count > 1 else place for place, count in found.most_common(SHOWN)]
    more = len(found) - SHOWN
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
