"""The states of the random number generators that a training step may draw from, in a checkpoint.

These are the global ones of Python, NumPy and torch, on the CPU and on the device of the rank. All are stored
as tensors and plain numbers, so that a checkpoint is read without pickle.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

States = dict[str, Any]


def random_states(device: torch.device) -> States:
    """The states of this process.

    Args:
        device: Of the training.
    """
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    states = {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: States, device: torch.device) -> None:
    """Let the generators of this process go on where they were."""
    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:  # absent where the training began on a CPU
        torch.cuda.set_rng_state(states["cuda"], device)
