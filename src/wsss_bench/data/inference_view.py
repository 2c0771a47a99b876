"""Images for prediction, without augmentation."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from wsss_bench.data.references import ReferenceImages
from wsss_bench.data.sources.base import Source
from wsss_bench.data.views import Key
from wsss_bench.types import InferenceSample, Reference


class InferenceView(Dataset):
    """Images at their original size, one at a time.

    Args:
        source: The data set.
        ids: Ids of the images.
        labelled: Whether samples have image labels; False hides them from the method.
        references: Draws the reference images of the labelled classes; None for no references.
    """

    def __init__(
        self, source: Source, ids: list[str], labelled: bool, references: ReferenceImages | None = None
    ) -> None:
        self.references = references
        self.source = source
        self.image_ids = ids
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, key: Key) -> InferenceSample:
        image_id = self.image_ids[key[1]]
        labels = self.source.labels(image_id) if self.labelled else None
        references = () if labels is None else self._references_of(image_id, labels)
        return InferenceSample(image_id, self.source.image(image_id), labels, references)

    @staticmethod
    def collate(items: list[InferenceSample]) -> list[InferenceSample]:
        """Images of several sizes, as they are."""
        return items

    def _references_of(self, image_id: str, labels: np.ndarray) -> tuple[Reference, ...]:
        if self.references is None:
            return ()
        return tuple(
            Reference(reference, self.source.image(reference), self.source.labels(reference), c)
            for c, drawn in self.references.draw(image_id, labels).items()
            for reference in drawn
        )
