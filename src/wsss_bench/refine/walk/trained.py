"""The network of a refiner, rebuilt from the folder of the stage that trained it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from wsss_bench.artifacts.files import read_manifest
from wsss_bench.artifacts.layout import LAST
from wsss_bench.methods.base import Method, check_checkpoint

Network = TypeVar("Network", bound=Method)


def trained_network(kind: type[Network], stage: Path) -> Network:
    """Read a network in evaluation mode, on a GPU where there is one.

    Args:
        kind: What it must be.
        stage: Complete train stage.

    Raises:
        FileNotFoundError: the stage did not complete.
        ValueError: it trained something else.
    """
    arguments = read_manifest(stage)["config"]["model"]["init_args"]
    checkpoint = torch.load(stage / LAST, map_location="cpu", weights_only=True)
    names = checkpoint.get("wsss_bench", {}).get("class_names", ())
    check_checkpoint(checkpoint, f"{kind.__module__}.{kind.__qualname__}", names)
    built = {key: value for key, value in arguments.items() if key != "optim"}
    network = kind(**{**built, "class_names": names, "weights": None})  # all weights are in the checkpoint
    network.load_state_dict(checkpoint["state_dict"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return network.requires_grad_(False).eval().to(device)


def as_tensor(image: np.ndarray, device: torch.device) -> Tensor:
    """`(H, W, 3)` uint8 -> `(1, 3, H, W)` in [0, 1]."""
    return torch.tensor(image, device=device).permute(2, 0, 1)[None].float() / 255
