"""Which classes the labels and the masks of a split show, and where the two cannot be right together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wsss_bench.data.truth import no_class_shown

FEW = 5
"""Images with a class that no mask shows: fewer may be small or hidden objects."""


@dataclass
class Occurrence:
    """Counts of images.

    Attributes:
        class_names: Foreground classes, C in number.
        masks: Images whose mask was read.
        labelled: `(C,)` images with the class by their label.
        shown: `(C,)` images whose mask shows the class.
        unlabelled: Images without any label; of a data set without labels, without any class in the mask.
        labelled_with_mask: `(C,)` images with the class by their label, of those whose mask was read.
        disagree: Images whose mask shows a class that the label does not have.
    """

    class_names: Sequence[str]
    masks: int
    labelled: np.ndarray
    shown: np.ndarray
    unlabelled: int
    labelled_with_mask: np.ndarray
    disagree: int

    @classmethod
    def of(
        cls, images: Sequence[tuple[np.ndarray | None, np.ndarray | None]], class_names: Sequence[str]
    ) -> Occurrence:
        """Count.

        Args:
            images: `(C,)` labels and `(C,)` classes of the mask of each image; None where it has none.
            class_names: Foreground classes.
        """
        number = len(class_names)

        def stack(rows: list[np.ndarray]) -> np.ndarray:
            return np.array(rows, bool).reshape(-1, number)

        labels = stack([label for label, _ in images if label is not None])
        shown = stack([mask for _, mask in images if mask is not None])
        both = [(label, mask) for label, mask in images if label is not None and mask is not None]
        labels_of_both, shown_of_both = stack([label for label, _ in both]), stack([mask for _, mask in both])
        known = labels if len(labels) else shown
        return cls(
            class_names=class_names,
            masks=len(shown),
            labelled=labels.sum(axis=0),
            shown=shown.sum(axis=0),
            unlabelled=int((~known.any(axis=1)).sum()),
            labelled_with_mask=labels_of_both.sum(axis=0),
            disagree=int((shown_of_both & ~labels_of_both).any(axis=1).sum()),
        )

    def problems(self, with_labels: bool) -> Iterator[str]:
        """What cannot be right, one sentence each."""
        if not self.masks:
            return
        if not self.shown.any():
            yield no_class_shown(self.masks)
            return
        if not with_labels:
            return
        for name, labelled, shown in zip(self.class_names, self.labelled_with_mask, self.shown, strict=True):
            if labelled >= FEW and not shown:
                yield (
                    f"{labelled} images are labelled {name!r}, but no mask shows it; were the masks made "
                    "without it?"
                )
        if 2 * self.disagree > self.masks:
            yield (
                f"{self.disagree} of {self.masks} masks show a class that the label of the image lacks; is "
                "the list of classes in the order of the mask values, and do the masks show classes, not "
                "instances (SegmentationObject)?"
            )
