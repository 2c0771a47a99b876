"""Random numbers per image: they depend on neither the rest of the batch nor the number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor


def image_generator(random_seed: int, image_id: str) -> torch.Generator:
    """A generator on the CPU, seeded by epoch and image.

    Args:
        random_seed: Seed of this epoch, the same on all ranks.
        image_id: Image id.
    """
    digest = blake2b(f"{random_seed}/{image_id}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def uniform_noise(generators: Sequence[torch.Generator], shape: Sequence[int], like: Tensor) -> Tensor:
    """`(B, *shape)` uniform in [0, 1), one generator per image, on the device and in the type of `like`."""
    noise = torch.empty(len(generators), *shape)
    for values, generator in zip(noise, generators, strict=True):
        values.uniform_(generator=generator)
    return noise.to(like)
