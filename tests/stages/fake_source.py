"""A data set in memory, and seeds and masks of its images, for the tests of the stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss_bench.artifacts.files import write_mask
from wsss_bench.artifacts.seeds import write_seed
from wsss_bench.data.sources.base import Source
from wsss_bench.types import ScoreMaps


class FakeSource(Source):
    """`number` images of different sizes with three classes; their content is computed from the id.

    Args:
        number: Images of the split `val`; the split `empty` has none.
        with_masks: False makes `mask` raise an error.
    """

    class_names = ("cat", "dog", "cow")

    def __init__(self, number: int = 7, with_masks: bool = True) -> None:
        self.number = number
        self.with_masks = with_masks

    def ids(self, split: str) -> list[str]:
        return [f"image{index:03d}" for index in range(self.number)] if split != "empty" else []

    def image(self, image_id: str) -> np.ndarray:
        noise = self._random(image_id).integers(0, 60, (*self._size(image_id), 3))
        return (np.minimum(self.mask(image_id), 3)[..., None] * 60 + noise).astype(np.uint8)

    def labels(self, image_id: str) -> np.ndarray:
        return np.isin([1, 2, 3], self._truth(image_id)).astype(np.float32)

    def mask(self, image_id: str) -> np.ndarray:
        if not self.with_masks:
            raise AssertionError("a mask was read")
        return self._truth(image_id)

    def _truth(self, image_id: str) -> np.ndarray:
        random = self._random(image_id)
        mask = np.zeros(self._size(image_id), np.uint8)
        for _ in range(2):
            top, left = random.integers(0, 10, 2)
            mask[top : top + 12, left : left + 12] = random.integers(1, 4)
        mask[0] = 255
        return mask

    def _size(self, image_id: str) -> tuple[int, int]:
        return 24 + int(image_id[-1]), 30 - int(image_id[-1])

    def _random(self, image_id: str) -> np.random.Generator:
        return np.random.default_rng(int(image_id[-3:]))


def write_seeds(source: FakeSource, folder: Path, stride: int = 1) -> None:
    """Noisy seeds of the classes of each image, at full size or at a stride."""
    for image_id in source.ids("val"):
        truth = source._truth(image_id)
        random = np.random.default_rng(int(image_id[-3:]) + 1000)
        classes = np.flatnonzero(source.labels(image_id)) + 1
        scores = [0.4 * (truth == value) + 0.6 * random.random(truth.shape) for value in classes]
        scores = np.reshape(scores, (len(classes), *truth.shape))[:, ::stride, ::stride]
        write_seed(folder, ScoreMaps(image_id, classes.astype(np.uint8), scores, truth.shape))


def write_masks(source: FakeSource, folder: Path, wrong: float = 0.2) -> None:
    """The truth with a share of wrong pixels, and background where the truth is 255."""
    for image_id in source.ids("val"):
        truth = source._truth(image_id)
        random = np.random.default_rng(int(image_id[-3:]) + 2000)
        mask = np.where(truth == 255, 0, truth)
        change = random.random(mask.shape) < wrong
        write_mask(
            folder, image_id, np.where(change, random.integers(0, 4, mask.shape), mask).astype(np.uint8)
        )
