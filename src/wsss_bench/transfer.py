"""Copies to and from a device that wait for it as little as can be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device, without waiting for what the device still has to do.

    It is copied from pinned memory, which PyTorch keeps until the device has read it.
    """
    if device.type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True)


def to_host(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Tensors of one type as arrays, in one copy: each copy waits for the device."""
    if len(tensors) == 1:
        return [tensors[0].cpu().numpy()]
    with torch.autocast(tensors[0].device.type, enabled=False):  # it joins no float16
        whole = torch.cat([tensor.flatten() for tensor in tensors]).cpu()
    parts = whole.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape).numpy() for part, tensor in zip(parts, tensors, strict=True)]


class HostCopy:
    """The number in a buffer, which is read from the device only when it has changed."""

    def __init__(self) -> None:
        self._key = (-1, -1)
        self._value = 0

    def of(self, buffer: Tensor) -> int:
        """The value of a buffer of one number."""
        # _version counts changes in place: steps, loading
        key = (id(buffer), -1 if buffer.is_inference() else buffer._version)
        if key != self._key or buffer.is_inference():
            self._key, self._value = key, int(buffer)
        return self._value
