"""RandAugment and random erasing of timm, as in DeiT and TCL, with random numbers of their own.

Cubuk et al., "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", NeurIPS 2020,
https://arxiv.org/abs/1909.13719; Zhong et al., "Random Erasing Data Augmentation", AAAI 2020,
https://arxiv.org/abs/1708.04896. timm draws from the global generators of Python, NumPy and torch. They are
seeded for each image, so that an image depends on its key alone, and then get their old states back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torch import Tensor


class TimmAugmentation:
    """The two steps of timm's training transform that follow crop and flip.

    Args:
        rand_augment: Policy in timm's notation, e.g. `rand-m9-mstd0.5-inc1`; None for none.
        random_erasing: Probability that a rectangle is erased.
        mean: Colour of pixels that RandAugment uncovers, and mean of the noise in the erased rectangle, per
            channel in [0, 1].
        std: Standard deviation of this noise, per channel.
    """

    def __init__(
        self,
        rand_augment: str | None,
        random_erasing: float,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        self._policy = None
        if rand_augment is not None:
            settings = {
                "img_mean": tuple(round(255 * channel) for channel in mean),
                "interpolation": Image.Resampling.BILINEAR,
            }
            self._policy = rand_augment_transform(rand_augment, settings)
            for operation in self._policy.ops:
                if operation.name.startswith("Posterize"):
                    operation.level_fn = partial(_bits_to_keep, operation.level_fn)
        self._erasing = RandomErasing(random_erasing, mode="pixel", device="cpu")
        self._mean, self._std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))

    def rand_augment(self, image: np.ndarray, seed: int) -> np.ndarray:
        """`(H, W, 3)` uint8 -> the same, after operations that change colours or move the picture."""
        if self._policy is None:
            return image
        with _global_seed(seed):
            return np.array(self._policy(Image.fromarray(image)))

    def erase(self, image: Tensor, seed: int) -> Tensor:
        """`(3, H, W)` -> the same, one rectangle of it perhaps replaced by Gaussian noise.

        The noise is standard normal after normalisation with `mean` and `std`, so that it leaves [0, 1].
        """
        with _global_seed(seed):  # timm erases a normalised image: a blank one shows where
            noise = self._erasing(torch.full_like(image, torch.nan))
        return torch.where(noise.isnan(), image, self._mean + self._std * noise)


def _bits_to_keep(bits_of: Callable[..., tuple[int]], level: float, settings: dict[str, Any]) -> tuple[int]:
    """Bits that `posterize` keeps, at least one: at an end of its range timm asks for none; Pillow fails."""
    return (max(1, bits_of(level, settings)[0]),)


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed GPUs too
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
