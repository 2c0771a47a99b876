"""Batches: their view, their image ids, and that they keep their type on the way to a device."""

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

from wsss_bench.data.view_names import VIEWS
from wsss_bench.types import CaptionBatch, GroupBatch, ImageBatch, MaskBatch, PairBatch, view_of


def images(*ids):
    return ImageBatch(
        list(ids), torch.zeros(len(ids), 3, 2, 2), torch.ones(len(ids), 4), torch.ones(len(ids), 2, 2) > 0
    )


PLAIN = images("a", "b")
BATCHES = [
    (PLAIN, "image", ["a", "b"]),
    (PairBatch(PLAIN, images("c", "a"), {"flip": PLAIN.image}), "pair", ["a", "b", "c", "a"]),
    (GroupBatch((images("a"), images("b"), images("c"))), "group", ["a", "b", "c"]),
    (CaptionBatch(["a", "b"], PLAIN.image, ["one", "two"], PLAIN.valid), "caption", ["a", "b"]),
    (MaskBatch(["a", "b"], PLAIN.image, PLAIN.valid.long(), PLAIN.valid), "mask", ["a", "b"]),
]


@pytest.mark.parametrize(("batch", "view", "image_ids"), BATCHES)
def test_batch_names_its_view_and_all_its_images(batch, view, image_ids):
    assert view_of(type(batch)) == view
    assert VIEWS[view].batch_type is type(batch)
    assert batch.image_ids == image_ids


@pytest.mark.parametrize("batch", [batch for batch, _, _ in BATCHES])
def test_batch_keeps_its_type_when_it_is_moved(batch):
    moved = move_data_to_device(batch, torch.device("meta"))
    assert type(moved) is type(batch)
    assert moved.image_ids == batch.image_ids
    while not hasattr(moved, "image"):
        moved = moved.first if hasattr(moved, "first") else moved.images[0]
    assert moved.image.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU has pinned memory")
@pytest.mark.parametrize("batch", [batch for batch, _, _ in BATCHES])
def test_batch_keeps_its_type_when_its_memory_is_pinned(batch):
    (pinned,) = torch.utils.data.DataLoader([batch], batch_size=None, pin_memory=True)
    assert type(pinned) is type(batch)


def test_the_numbers_of_labels_are_given_or_read():
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    batch = ImageBatch(["a", "b"], torch.zeros(2, 3, 2, 2), labels, torch.ones(2, 2, 2) > 0)
    assert batch.num_labels == [2, 0]
    moved = move_data_to_device(batch._replace(label_counts=[2, 0]), torch.device("meta"))
    assert moved.num_labels == [2, 0]
