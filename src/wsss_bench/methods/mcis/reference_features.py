"""Features of reference images, each computed once as long as the memory is large enough."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from wsss_bench.methods.mcis.localization import resize_to_square
from wsss_bench.transfer import to_device
from wsss_bench.types import Reference

LARGEST = 2**32
"""Bytes of features that are kept. The 1464 training images of VOC take 3 GiB (512 x 32 x 32 in float32)."""


class ReferenceFeatures:
    """Encodes reference images, and keeps the features of those that were used last.

    An image is drawn as a reference of many others. Images are compared by content, so that ids may mean
    different images in different data sets. Nothing is kept in training, or once a weight has changed.

    Args:
        features: Encoder: `(1, 3, side, side)` in [0, 1] -> `(1, C, h, w)`. Each image passes it alone, so
            that its features do not depend on what it is drawn with.
        side: Side of the square that references are resized to, in pixels.
    """

    def __init__(self, features: nn.Module, side: int) -> None:
        self._features, self._side = features, side
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self._weights: object = None

    def __call__(self, references: Sequence[Reference], like: Tensor) -> dict[str, Tensor]:
        """Features `(C, h, w)` of each different reference, by image id.

        Args:
            references: At least one.
            like: A tensor with the wanted device and precision.
        """
        weights = _state_of(chain(self._features.parameters(), self._features.buffers()))
        if weights is None or self._features.training or weights != self._weights:
            self._kept.clear()
        self._weights = weights
        images = {reference.image_id: reference.image for reference in references}
        return {image_id: self._of(image, like) for image_id, image in images.items()}

    def _of(self, image: np.ndarray, like: Tensor) -> Tensor:
        autocast = torch.is_autocast_enabled(like.device.type)
        facts = repr((image.shape, like.device, like.dtype, autocast))
        key = blake2b(np.ascontiguousarray(image).tobytes() + facts.encode()).digest()
        found = self._kept.pop(key, None)
        if found is None:
            pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
            square = to_device(pixels, like.device).to(like.dtype)[None] / 255
            found = self._features(resize_to_square(square, self._side))[0]
        self._kept[key] = found  # the one that was used last is last
        while sum_of_bytes(self._kept.values()) > LARGEST:
            self._kept.popitem(last=False)
        return found


def sum_of_bytes(tensors: Iterable[Tensor]) -> int:
    """Memory of tensors that do not share it."""
    return sum(tensor.nbytes for tensor in tensors)


def _state_of(tensors: Iterable[Tensor]) -> object:
    """Equal for two calls if no value was changed between them; None where torch does not count changes."""
    found = []
    for tensor in tensors:
        if tensor.is_inference():
            return None
        found.append((tensor.data_ptr(), tensor._version))
    return found
