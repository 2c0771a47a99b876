"""Reference images: other images of the same classes, for methods that compare images at inference (MCIS)."""

from __future__ import annotations

import zlib

import numpy as np

from wsss_bench.data.sources.base import Source

ReferenceTable = dict[str, dict[int, list[str]]]
"""Image id -> class -> ids of the references."""


class ReferenceImages:
    """Draws references for each class of an image, uniformly with replacement from the images of the class.

    This follows MCIS (Sun et al., ECCV 2020) and its code, in which the image itself may be drawn too. The
    references of a class of an image depend on the random seed, the image and the class only. So ranks and
    resumed stages agree, and the first three of ten references are those of a run with three.

    Args:
        source: Source of the labels.
        ids: Images to draw from.
        count: Number of references of each class.
        random_seed: Random seed of the draws.
    """

    def __init__(self, source: Source, ids: list[str], count: int, random_seed: int) -> None:
        self.ids = ids
        self.count = count
        self.random_seed = random_seed
        self._members = members(np.stack([source.labels(image_id) for image_id in ids]))

    def draw(self, image_id: str, labels: np.ndarray) -> dict[int, list[str]]:
        """References of one image by class; a class that none of the images has is left out.

        Args:
            image_id: Id of the image.
            labels: Its `(C,)` multi-hot labels.
        """
        return {
            int(c): [self.ids[k] for k in self._rng(image_id, int(c)).choice(self._members[c], self.count)]
            for c in np.flatnonzero(labels)
            if len(self._members[c])
        }

    def _rng(self, image_id: str, c: int) -> np.random.Generator:
        return np.random.default_rng((self.random_seed, zlib.crc32(image_id.encode()), c))


def members(labels: np.ndarray) -> list[np.ndarray]:
    """`(N, C)` multi-hot labels -> for each class the indices of the images that have it."""
    return [np.flatnonzero(column) for column in labels.T]
