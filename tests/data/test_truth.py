"""Masks are looked for before a training or a score needs them."""

import numpy as np
import pytest

from wsss_bench.artifacts.files import write_mask
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.voc import VOC
from wsss_bench.data.truth import require_masks


def test_missing_masks_are_counted(voc_root):
    source = VOC(voc_root, "mini")
    ids = source.ids("train")
    require_masks(source, ids, "train")
    for k in (3, 8):
        (voc_root / "SegmentationClass" / f"train_{k}.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"2 of 10 masks of split 'train' do not exist, first .*train_3"
    ):
        require_masks(source, ids, "train")


def test_masks_that_show_nothing_are_refused_with_the_remedy(folder_root):
    source = Folder(folder_root, masks="masks")
    require_masks(source, ["grey"], "train")
    write_mask(folder_root / "masks", "grey", np.eye(20, 24, dtype=np.uint8) * 255)
    with pytest.raises(ValueError, match=r"none of 1 masks shows any class.*mask_values: \{255: 1\}"):
        require_masks(source, ["grey"], "train")


def test_one_mask_of_many_that_shows_a_class_is_enough(voc_root, monkeypatch):
    monkeypatch.setattr("wsss_bench.data.truth.LOOKED_AT", 1)
    source = VOC(voc_root, "mini")
    for k in range(9):
        write_mask(
            voc_root / "SegmentationClass", f"train_{k}", np.zeros(source.mask(f"train_{k}").shape, np.uint8)
        )
    require_masks(source, source.ids("train"), "train")


def test_a_source_without_masks_says_so(folder_root):
    with pytest.raises(FileNotFoundError, match="no masks are configured"):
        require_masks(Folder(folder_root), ["grey"], "train")
