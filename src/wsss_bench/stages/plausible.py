"""What truth and prediction must look like, so that a score says something about the classes.

Both checks read the confusion matrix of a whole split, so they cost nothing.
"""

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
            f"the masks of split {split!r} show none of the {len(source.class_names)} classes; {counted}. A "
            "mask holds 0 for background and 1..C for the classes, not 255 (or any other colour) for objects"
        )
    if shown[1:].all():  # nearly always: nothing to warn of
        return
    try:
        labelled = sum(map(source.labels, ids), np.zeros(len(source.class_names)))  # (C,) images
    except Exception:  # an own source that is only scored on may have no labels; they serve a warning only
        return
    never = [
        name
        for name, n, pixels in zip(source.class_names, labelled, shown[1:], strict=True)
        if n and not pixels
    ]
    if never:
        warnings.warn(
            f"split {split!r}: no mask shows {', '.join(never)}, although images are labelled so; their IoU "
            "counts as 0 where they are predicted. Check the masks with `wsss-bench data check`",
            stacklevel=2,
        )


RENUMBERED = 3
"""Classes that are predicted as another one each, from which on this is no confusion but another order."""


def check_numbering(matrix: np.ndarray, class_names: Sequence[str]) -> None:
    """Refuse a prediction whose values are in another order than the classes, or count from 0.

    A poor prediction confuses classes, but it does not exchange them one for one: this is refused where more
    than half of the pixels of three classes or more have one other value each, no two classes the same, and
    there are more such classes than rightly predicted ones.

    Args:
        matrix: `(K, K)` confusion matrix, rows are the truth.
        class_names: The K - 1 foreground classes.

    Raises:
        ValueError: such a prediction; the message names the classes.
    """
    pixels = matrix.sum(axis=1)
    value = matrix.argmax(axis=1)  # (K,) the most frequent prediction for each class
    clear = 2 * matrix.max(axis=1) > pixels
    names = ("background", *class_names)
    objects = [c for c in range(1, len(names)) if clear[c]]
    # all pixels of a class predicted as background are missed, which is common, unless it is the first of a
    # numbering from 0
    moved = [c for c in objects if value[c] not in (0, c)]
    right = [c for c in objects if value[c] == c]
    if len(moved) < max(RENUMBERED, len(right) + 1) or len({int(value[c]) for c in moved}) < len(moved):
        return
    shown = ", ".join(
        f"{names[c]} ({c}) as {value[c]} ({100 * matrix[c, value[c]] / pixels[c]:.0f} %)" for c in moved[:3]
    )
    raise ValueError(
        f"the prediction seems to number the classes in another way: it shows {shown}. A mask holds 0 for "
        f"background and c for the c-th of the classes {', '.join(class_names[:3])}, ..."
    )
