"""Random draws that belong to an image: they do not depend on the batch around it, nor on the number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor


def image_generator(seed: int, image_id: str) -> torch.Generator:
    """A generator on the CPU for an image.

    Args:
        seed: Of this epoch, the same on all ranks.
        image_id: Of the image.
    """
    digest = blake2b(f"{seed}/{image_id}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def uniform_draws(generators: Sequence[torch.Generator], shape: Sequence[int], like: Tensor) -> Tensor:
    """`(B, *shape)` draws in [0, 1), on the device of `like`."""
    draws = torch.empty(len(generators), *shape)
    for draw, generator in zip(draws, generators, strict=True):
        draw.uniform_(generator=generator)
    return draws.to(like)
