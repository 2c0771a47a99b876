"""Sees, on a CPU, what would make a step wait for a GPU, or fail there.

While a `DeviceWatch` is open, every tensor counts as one of a pretended GPU, except those that are made
without `device=` and what is computed from them alone.
"""

from __future__ import annotations

import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

FROM_VALUES = {"as_tensor", "tensor"}
"""Functions that copy values of the host to the device that they are given; `new_tensor` to that of its
tensor."""
READS = {"cpu", "numpy", "tolist", "__array__"}
MOVES = {"copy_", "cuda", "to", "type_as"}
OF_VALUES = {
    *("_local_scalar_dense", "_unique2", "bincount", "equal", "masked_select", "nonzero"),
    *("repeat_interleave", "unique_consecutive", "unique_dim"),
}
"""Operations whose result, or its shape, depends on values: `item`, `if tensor` and others end in these."""

INDEXING = {"_index_put_impl_", "_unsafe_index", "index", "index_put", "index_put_"}


class DeviceWatch(ExitStack):
    """Context that notes, with `file:line`, how often what occurred.

    Attributes:
        waits: Values that are read back (`item`, `tolist`, `cpu`, `if tensor`), results whose shape depends
            on values (`nonzero`, a bool index), and copies to the device that wait for it.
        mixtures: Tensors of the host, of one dimension or more, that met one of the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.mixtures: Counter[str] = Counter()
        self._host: Any = WeakTensorKeyDictionary()

    def __enter__(self) -> DeviceWatch:
        super().__enter__()
        self.enter_context(_Operations(self))
        self.enter_context(_Calls(self))
        from_numpy = torch.from_numpy  # which PyTorch shows to no mode

        def on_host(array: np.ndarray) -> Tensor:
            tensor = from_numpy(array)
            self.keep_on_host(tensor)
            return tensor

        self.enter_context(patch.object(torch, "from_numpy", on_host))
        return self

    def is_of_host(self, tensor: Tensor) -> bool:
        """Whether a tensor would be on the host."""
        return tensor in self._host

    def keep_on_host(self, result: Any) -> None:
        """Count the tensors of a result as tensors of the host."""
        for tensor in _tensors(result):
            self._host[tensor] = True


class _Calls(TorchFunctionMode):
    """Follows the functions that a program calls: which tensors they make on the host, copy or mix."""

    def __init__(self, watch: DeviceWatch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        name = getattr(function, "__name__", "")
        given = list(_tensors([args, named]))
        on_device = any(not self.watch.is_of_host(tensor) for tensor in given)
        to = _device_named(name, args, named)
        reads = name in READS or (to == "cpu" and on_device)
        self._note(name, args, named, given, on_device, reads, moves=to not in (None, "cpu"))
        result = function(*args, **named)
        if (reads or to is not None) and any(result is tensor for tensor in given):
            result = result.view_as(result)  # with a GPU it would be another tensor
        # what is made of no tensor, or of tensors of the host, is there too
        if to in (None, "cpu") and (reads or not on_device):
            self.watch.keep_on_host(result)
        return result

    def _note(
        self,
        name: str,
        args: Sequence[Any],
        named: dict[str, Any],
        given: list[Tensor],
        on_device: bool,
        reads: bool,
        moves: bool,
    ) -> None:
        watch = self.watch
        of_host = [tensor for tensor in given if watch.is_of_host(tensor)]
        if reads and on_device:
            watch.waits[f"{_place()}: {name} reads from the device"] += 1
        elif (name in FROM_VALUES and moves and not on_device) or (
            name == "new_tensor" and on_device and not any(_tensors([*args[1:], named]))
        ):
            watch.waits[f"{_place()}: {name} copies values to the device"] += 1
        elif moves and of_host and not named.get("non_blocking"):
            watch.waits[f"{_place()}: {name} copies to the device, and is not non_blocking"] += 1
        elif (
            name in ("__getitem__", "__setitem__")
            and on_device
            and any(isinstance(part, (list, np.ndarray)) for part in _parts(args[1]))
        ):
            watch.waits[f"{_place()}: a list of indices is copied to the device"] += 1
        elif on_device and not moves and any(tensor.ndim for tensor in of_host):
            watch.mixtures[f"{_place()}: {name} of a tensor of the host and one of the device"] += 1


class _Operations(TorchDispatchMode):
    """Sees the operations that need values, those in libraries and in the backward pass too."""

    def __init__(self, watch: DeviceWatch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = function.overloadpacket.__name__
        if not all(self.watch.is_of_host(tensor) for tensor in _tensors(args)):
            indices = args[1] if name in INDEXING else ()
            if name in OF_VALUES:
                self.watch.waits[f"{_place()}: {name} needs values"] += 1
            elif any(index.dtype in (torch.bool, torch.uint8) for index in _tensors(indices)):
                self.watch.waits[f"{_place()}: a bool index needs values"] += 1
        return function(*args, **(kwargs or {}))


def _device_named(name: str, args: Sequence[Any], named: dict[str, Any]) -> str | None:
    """`cpu` if the host is named as the device of a call, another text if a device is; None if none is."""
    device = named.get("device")
    if device is None and name in MOVES:
        others = [*args[1:], *named.values()]
        device = next(
            (other for other in others if isinstance(other, (Tensor, torch.device, str, int))), None
        )
        device = None if isinstance(device, bool) else device
    if device is None:
        return None
    return "cpu" if device == "cpu" and isinstance(device, str) else "device"


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _parts(index: Any) -> Sequence[Any]:
    return index if isinstance(index, tuple) else (index,)


LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))


def _place() -> str:
    """`file:line` of the innermost code that is neither in a library nor in the contract."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        module = str(frame.f_globals.get("__name__"))
        own = module.startswith("wsss_bench.")
        library = frame.f_code.co_filename.startswith(LIBRARIES) and not own
        if not library and not module.startswith("wsss_bench.contract."):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if module.startswith("wsss_bench.contract.") and not module.endswith("device_watch"):
            return "the backward pass"
        frame = frame.f_back
    return "the backward pass"
