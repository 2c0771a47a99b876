"""Which other images an image is shown with at inference."""

from __future__ import annotations

import zlib

import numpy as np

from wsss_bench.data.sources.base import Source

Table = dict[str, dict[int, list[str]]]
"""Image id -> class -> ids of its references."""


class ReferenceImages:
    """Draws references by class (MCIS, Sun et al., ECCV 2020): evenly from the images of the class, with replacement.

    The image itself may be drawn, as in the authors' code. What is drawn for a class of an image depends on the seed, the
    image and the class alone, so that ranks and resumed stages agree, and three references are the first three of ten.

    Args:
        source: Where the labels of `ids` are.
        ids: Images that may be drawn.
        count: References of each class.
        seed: Of the draws.
    """

    def __init__(self, source: Source, ids: list[str], count: int, seed: int) -> None:
        self.ids = ids
        self.count = count
        self.seed = seed
        self._members = members(np.stack([source.labels(image_id) for image_id in ids]))

    def draw(self, image_id: str, labels: np.ndarray) -> dict[int, list[str]]:
        """References of one image, by its classes; none for a class that no image of the pool has.

        Args:
            image_id: The image.
            labels: Its `(C,)` multi-hot labels.
        """
        return {
            int(c): [self.ids[k] for k in self._rng(image_id, int(c)).choice(self._members[c], self.count)]
            for c in np.flatnonzero(labels)
            if len(self._members[c])
        }

    def _rng(self, image_id: str, c: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, zlib.crc32(image_id.encode()), c))


def members(labels: np.ndarray) -> list[np.ndarray]:
    """`(N, C)` multi-hot -> for each class the indices of the images that have it."""
    return [np.flatnonzero(column) for column in labels.T]
