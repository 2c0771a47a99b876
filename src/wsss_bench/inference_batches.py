"""Which images go through the network together: those of equal size, on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wsss_bench.inference_config import InferenceConfig
from wsss_bench.types import InferenceSample

GPU_BATCH_SIZE = 4
"""Images of a batch on a GPU: with mirror images eight in a pass."""


def batch_size_of(config: InferenceConfig, device: torch.device, independent_images: bool) -> int:
    """Images that go through the network together at most.

    Args:
        config: Of the method.
        device: Where it computes.
        independent_images: Of the method: whether the maps of an image are those that it has alone.
    """
    if not independent_images or config.references:
        return 1
    if config.batch_size is not None:
        return config.batch_size
    return GPU_BATCH_SIZE if device.type == "cuda" else 1


def batches_of(samples: Sequence[InferenceSample], batch_size: int) -> list[list[int]]:
    """Positions of the samples that go through the network together: images of equal size."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for position, sample in enumerate(samples):
        by_size.setdefault(sample.image.shape, []).append(position)
    return [
        positions[start : start + batch_size]
        for positions in by_size.values()
        for start in range(0, len(positions), batch_size)
    ]
