"""Random numbers per image: they depend on neither the rest of the batch nor the number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from wsss_bench.transfer import to_device


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
    return to_device(noise.to(like.dtype), like.device)


def rows_of(images: Tensor, rows: Sequence[int]) -> Tensor:
    """`images[rows]`, for which a list of indices would be copied to the device, and waited for."""
    return images[to_device(torch.tensor(rows, dtype=torch.int64), images.device)]
