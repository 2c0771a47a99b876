"""Loads the affinity network of a refiner from the folder of its train stage."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from wsss_bench.artifacts.files import read_manifest
from wsss_bench.artifacts.layout import LAST
from wsss_bench.artifacts.stage_files import check_file
from wsss_bench.methods.base import Method, check_checkpoint
from wsss_bench.methods.checkpoint import load_state, read_checkpoint

Network = TypeVar("Network", bound=Method)


def load_trained_network(network_class: type[Network], stage: Path) -> Network:
    """Build the network and load its weights.

    Args:
        network_class: Class that the stage must have trained.
        stage: Folder of a complete train stage.

    Returns:
        The network in evaluation mode, without gradients, on a GPU if there is one.

    Raises:
        FileNotFoundError: the stage did not complete.
        ValueError: the stage trained another class, or its checkpoint is damaged.
    """
    arguments = read_manifest(stage)["config"]["model"]["init_args"]
    check_file(stage, LAST)
    checkpoint = read_checkpoint(stage / LAST)
    names = checkpoint.get("wsss_bench", {}).get("class_names", ())
    check_checkpoint(checkpoint, f"{network_class.__module__}.{network_class.__qualname__}", names)
    settings = {key: value for key, value in arguments.items() if key != "optim"}
    # weights: None, since the checkpoint holds all weights
    network = network_class(**{**settings, "class_names": names, "weights": None})
    load_state(network, checkpoint["state_dict"], stage / LAST)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return network.requires_grad_(False).eval().to(device)


def image_tensor(image: np.ndarray, device: torch.device) -> Tensor:
    """`(H, W, 3)` uint8 image -> `(1, 3, H, W)` float tensor in [0, 1]."""
    return torch.tensor(image, device=device).permute(2, 0, 1)[None].float() / 255
