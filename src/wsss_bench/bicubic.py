"""Pillow's bicubic resize of 8 bit images, on any device and bit for bit.

Rows are resized first and columns after, with 8 bit in between and weights of 22 binary digits
(`src/libImaging/Resample.c` of Pillow). The same integers give the same image here, so that a GPU sees what a
CPU sees. `torch.nn.functional.interpolate` with antialiasing is another function: it does not round in
between, and is off by one grey level or more in some of the pixels.

Pillow 13 resizes the columns first where that is less work (images that are shrunk and more than twice as
high as wide), earlier versions never do. Here the order is fixed: results do not depend on the version.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wsss_bench.transfer import to_device

BINARY_DIGITS = 22
"""Precision of the weights: 32 bits less 8 of a pixel and 2 of weights above 1 and below 0."""
KEPT_WEIGHTS = 64
"""Number of pairs of lengths whose weights a process keeps, of some 10 KB each."""


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image on its own device.

    Args:
        image: `(H, W, 3)` uint8.
        size: Height and width of the result.

    Returns:
        `(h, w, 3)` uint8; the image itself if it has this size.
    """
    if tuple(image.shape[:2]) == size:
        return image
    return resize_by_pillow(image, size) if image.device.type == "cpu" else resize_by_tensors(image, size)


def resize_by_pillow(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`resize` on a CPU, where Pillow is several times faster than tensors."""
    height, width = size
    resized = Image.fromarray(image.numpy())
    for step in ((width, resized.height), (width, height)):
        resized = resized.resize(step, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized))


def resize_by_tensors(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`resize` on any device."""
    for axis in (1, 0):
        if image.shape[axis] != size[axis]:
            image = _along(image, axis, size[axis])
    return image


def _along(image: Tensor, axis: int, length: int) -> Tensor:
    """Resize rows (axis 1) or columns (axis 0) of an image `(H, W, 3)` to a length."""
    first, weights = (to_device(array, image.device) for array in _weights(image.shape[axis], length))
    last = image.shape[axis] - 1
    size = [*image.shape]
    size[axis] = length
    total = image.new_zeros(size, dtype=torch.int32)
    for step, weight in enumerate(weights):
        pixels = image.index_select(axis, (first + step).clamp(max=last))
        total += pixels * (weight[:, None, None] if axis == 0 else weight[:, None])
    half = 1 << (BINARY_DIGITS - 1)
    return ((total + half) >> BINARY_DIGITS).clamp(0, 255).to(torch.uint8)


@lru_cache(KEPT_WEIGHTS)
def _weights(old: int, new: int) -> tuple[Tensor, Tensor]:
    """First source pixel `(new,)` int64 of each pixel, and the weights `(taps, new)` int32 from there on.

    Weights after the last source pixel are 0.
    """
    scale = old / new
    stretch = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    first = np.maximum((centres - 2 * stretch + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + 2 * stretch + 0.5).astype(np.int64), old)
    steps = np.arange(2 * math.ceil(2 * stretch) + 1)[:, None]
    distance = np.abs((steps + first - centres + 0.5) * (1 / stretch))
    weights = np.where(steps < end - first, _cubic(distance), 0.0)
    weights /= np.add.accumulate(weights)[-1]  # one after another, as Pillow adds them
    digits = weights * (1 << BINARY_DIGITS)
    rounded = np.trunc(digits + np.where(digits < 0, -0.5, 0.5)).astype(np.int32)
    return torch.from_numpy(first), torch.from_numpy(rounded)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel with a = -1/2 at distances >= 0."""
    a = -0.5
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
