"""Files that are made of the others: `train_aug.txt`, and tables of image labels for other programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from wsss_bench.data.prepare.writing import store
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.text_files import read_text


def write_train_aug(folder: Path) -> None:
    """Write `train_aug.txt`: SBD's train and val and VOC's train, without VOC's val; ids in sorted order.

    Args:
        folder: VOC2012 with the lists of VOC and of SBD.
    """
    lists = folder / "ImageSets" / "Segmentation"
    train, val, sbd_train, sbd_val = (
        set(read_text(lists / f"{name}.txt").split()) for name in ("train", "val", "sbd_train", "sbd_val")
    )
    ids = sorted((sbd_train | sbd_val | train) - val)
    store(lists / "train_aug.txt", "".join(f"{image_id}\n" for image_id in ids).encode())


def write_labels(path: Path, source: Source, ids: Iterable[str]) -> None:
    """Write a table of image labels: `image` (file name) and `classes` (by `;`, in label order).

    `Folder` reads such a table.
    """
    names = source.class_names
    rows = (
        f"{image_id}.jpg,{';'.join(names[c] for c in np.flatnonzero(source.labels(image_id)))}\n"
        for image_id in ids
    )
    store(path, "".join(["image,classes\n", *rows]).encode())
