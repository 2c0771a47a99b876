"""Counts what a computation costs, with the counters of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode, flop_registry


@dataclass(frozen=True)
class Count:
    """Cost of a computation.

    Args:
        flop: Floating point operations of matrix products and convolutions; a multiply-add is two.
        float32_share: Share of them that are in float32: all, outside of mixed precision.
        bytes: Memory of the tensors that autograd saves for the backward pass, each storage once, without
            those of `kept`.
        calls: Operators that run, each of them one or a few kernels on a GPU.
    """

    flop: int
    float32_share: float
    bytes: int
    calls: int


PRODUCTS = {
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.baddbmm.default,
}


class _Calls(TorchDispatchMode):
    """Counts operators; products and convolutions give random numbers of the right shape, which is quick."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.flop = Counter[torch.dtype]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += not getattr(func, "is_view", False)
        if func not in PRODUCTS:
            results = func(*args, **(kwargs or {}))
            self._count(func, args, kwargs, results)
            return results
        shapes = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs or {}))
        results = func(*shapes[0], **shapes[1])
        self._count(func, *shapes, results)
        return tree_map_only(Tensor, lambda tensor: torch.randn_like(tensor, device="cpu"), results)

    def _count(self, func: Any, args: Any, kwargs: Any, results: Any) -> None:
        """Its FLOP, by the type that it computes in."""
        if func.overloadpacket in flop_registry:
            computes_in = next(arg.dtype for arg in args if isinstance(arg, Tensor))
            flop = flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=results)
            self.flop[computes_in] += flop


class _NoModules(AbstractContextManager[None]):
    """In the place of the counter's record of modules, whose hooks refuse a gradient inside of a step."""

    parents = frozenset({"Global"})

    def __exit__(self, *_: object) -> None:
        pass


def count(run: Callable[[], Any], kept: list[Tensor]) -> Count:
    """Run once, without computing its products, and count.

    Args:
        run: The computation; a training step includes its backward pass.
        kept: Tensors that are in memory anyway: parameters and buffers.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in kept}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()
    with hooks, _Calls() as calls, counter as flop:
        run()
    in_float32 = calls.flop[torch.float32] / max(calls.flop.total(), 1)
    return Count(flop.get_total_flops(), in_float32, sum(saved.values()), calls.number)
