"""Whether the masks of a split are there and show something, before a training or a score needs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsss_bench.data.sources.base import Source
from wsss_bench.types import IGNORE

LOOKED_AT = 64
"""Masks that are read at first, evenly spread over the split."""


def require_masks(source: Source, ids: Sequence[str], split: str) -> None:
    """Check that all masks of a split exist, and that one of them at least shows a class.

    A few masks are read, and all of them only if those show none.

    Raises:
        FileNotFoundError: masks are missing.
        ValueError: a mask that cannot be used, or none that shows a class.
    """
    files = [source.mask_file(image_id) for image_id in ids]
    missing = [file for file in files if file is not None and not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(ids)} masks of split {split!r} do not exist, first {missing[0]}; full "
            "supervision and scores read them (docs/data.md says where they come from). Complete the folder, "
            "or leave out what needs them"
        )
    first = ids[:: max(1, len(ids) // LOOKED_AT)]
    if not any(_shows_a_class(source, image_id) for image_id in (*first, *ids)):
        raise ValueError(f"split {split!r}: {no_class_shown(len(ids))}")


def no_class_shown(masks: int) -> str:
    """The sentence for masks of which none shows a class."""
    return (
        f"none of {masks} masks shows any class, so that every prediction of background scores 100; a mask "
        "holds 1..C for the classes, and 255 is ignored. Masks of 0 and 255 are read with `mask_values: "
        "{255: 1}` in the `init_args` of a source Folder (docs/data.md)"
    )


def _shows_a_class(source: Source, image_id: str) -> bool:
    mask = source.mask(image_id)
    return bool(np.any((mask != 0) & (mask != IGNORE)))
