"""Loads the affinity network of a refiner from the folder of its train stage."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from wsss_bench.artifacts.files import read_manifest
from wsss_bench.methods.base import Method
from wsss_bench.methods.loading import load_method

Network = TypeVar("Network", bound=Method)


def load_trained_network(network_class: type[Network], stage: Path, device: str) -> Network:
    """Build the network and load its weights.

    Args:
        network_class: Class that the stage must have trained.
        stage: Folder of a complete train stage.
        device: `cpu` or `cuda`.

    Returns:
        The network in evaluation mode, without gradients.

    Raises:
        FileNotFoundError: the stage did not complete.
        ValueError: the stage trained another class, or its checkpoint is damaged.
    """
    read_manifest(stage)
    return load_method(stage, network_class, device).requires_grad_(False)
