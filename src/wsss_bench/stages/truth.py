"""What a ground truth must show, so that its score says something about the classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from wsss_bench.data.sources.base import Source


def check_truth(matrix: np.ndarray, source: Source, ids: Sequence[str], split: str) -> None:
    """Refuse a truth without any class, and warn of classes that are labelled but never shown.

    Args:
        matrix: `(K, K)` confusion matrix of the split, rows are the truth.
        source: The data set; its labels are read where it has some.
        ids: Images of the split.
        split: For messages.

    Raises:
        ValueError: no pixel counts, or all that do are background. Any prediction of background alone would
            then score 100.
    """
    shown = matrix.sum(axis=1)  # (K,) pixels
    if not shown[1:].any():
        counted = (
            "no pixel counts: all are 255 (ignored)" if not shown.any() else "all that counts is background"
        )
        raise ValueError(
            f"the masks of split {split!r} show none of the {len(source.class_names)} classes; {counted}. "
            "A mask "
            "holds 0 for background and 1..C for the classes, not 255 (or any other colour) for objects"
        )
    try:
        labelled = np.sum([source.labels(image_id) for image_id in ids], axis=0)  # (C,) images
    except (ValueError, OSError):  # a data set that is only scored on needs no labels
        return
    never = [
        name
        for name, n, pixels in zip(source.class_names, labelled, shown[1:], strict=True)
        if n and not pixels
    ]
    if never:
        warnings.warn(
            f"split {split!r}: no mask shows {', '.join(never)}, although images are labelled so; their "
            "IoU counts "
            "as 0 where they are predicted. Check the masks with `wsss-bench data check`",
            stacklevel=2,
        )
