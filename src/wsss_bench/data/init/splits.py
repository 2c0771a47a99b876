"""Which images of a table are trained on and which are evaluated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from wsss_bench.data.sources.tables import TableRow

TRAIN, VAL = "train", "val"
VAL_FRACTION = 0.2
"""Share of the images that is evaluated where nothing says which."""


def splits_of(
    rows: Sequence[TableRow], masked: Collection[str], val_fraction: float | None, random_seed: int
) -> list[str]:
    """The split of each row.

    The column `split` says it. In a table with training images only, `val` is drawn: from the images with a
    mask if only some have one, since the others could not be scored, else from all. The same images are drawn
    for any order of the rows.

    Args:
        rows: The table.
        masked: Ids of the images that have a mask.
        val_fraction: Share of the images of `val`. By default all images with a mask if only some have one,
            else a fifth.
        random_seed: Random seed of the draw.

    Raises:
        ValueError: splits without `train`; a fraction for a table that has splits; too few images.
    """
    found = Counter(row.split for row in rows)
    if TRAIN not in found:
        raise ValueError(
            f"the column `split` has {', '.join(found) or 'no value'}, but no {TRAIN!r}; methods are trained "
            f"on the images of {TRAIN!r}, so give them this name"
        )
    if len(found) > 1:
        if val_fraction is not None:
            raise ValueError(
                f"--val-fraction is given, but the table has the splits {', '.join(found)}; leave the option "
                "out, or the column `split`"
            )
        return [row.split for row in rows]
    names = sorted(row.image for row in rows)
    with_mask = sorted(row.image for row in rows if row.image_id in masked)
    pool = with_mask or names
    if val_fraction is None and len(pool) < len(names):
        number = len(pool)
    else:
        number = min(len(pool), max(1, round((val_fraction or VAL_FRACTION) * len(names))))
    drawn = set(np.random.default_rng(random_seed).permutation(pool)[:number].tolist())
    if len(drawn) == len(set(names)):
        raise ValueError(
            f"of {len(names)} images none would be left to train on; give more, or a column `split`"
        )
    return [VAL if row.image in drawn else TRAIN for row in rows]
