"""Files that are made of the others: `train_aug.txt`, and tables of image labels for other programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from wsss_bench.data.prepare.writing import store
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.text_files import read_text
from wsss_bench.data.sources.voc import VOC


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


def write_voc_labels(folder: Path) -> None:
    """Write `image_labels.csv`: every image that has an annotation, and the classes of its objects."""
    _write_labels(VOC(folder), sorted(path.stem for path in folder.glob("Annotations/*.xml")), folder, "")


def write_coco_labels(folder: Path, splits: Iterable[str]) -> None:
    """Write `image_labels_<split>.csv`: the images with objects, as `coco.yaml` uses them."""
    source = COCO(folder)
    for split in splits:
        _write_labels(source, source.ids(split), folder, f"_{split}")


def _write_labels(source: Source, ids: Iterable[str], folder: Path, suffix: str) -> None:
    """Columns `image` (file name) and `classes` (by `;`, in label order), as `Folder` reads them."""
    names = source.class_names
    rows = (
        f"{image_id}.jpg,{';'.join(names[c] for c in np.flatnonzero(source.labels(image_id)))}\n"
        for image_id in ids
    )
    store(folder / f"image_labels{suffix}.csv", "".join(["image,classes\n", *rows]).encode())
