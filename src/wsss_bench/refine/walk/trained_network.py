"""Loads the affinity network of a refiner from the folder of its train stage."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch

from wsss_bench.artifacts.files import read_manifest
from wsss_bench.methods.base import Method
from wsss_bench.methods.loading import load_method

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
    read_manifest(stage)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_method(stage, network_class, device).requires_grad_(False)
