"""Random numbers that belong to an image and a step, not to a process: ranks draw what a single process would."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor


def image_noise(image_ids: Sequence[str], step: int, size: Sequence[int], device: torch.device) -> Tensor:
    """`(B, *size)` uniform in [0, 1); row `b` depends on `image_ids[b]` and `step` only."""
    rows = []
    for image_id in image_ids:
        generator = torch.Generator().manual_seed(crc32(f"{image_id} {step}".encode()))
        rows.append(torch.rand(tuple(size), generator=generator))
    return torch.stack(rows).to(device)
