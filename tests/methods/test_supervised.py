"""The loss of Supervised: ignored pixels, images with ignored pixels only, batches split over ranks."""

import pytest
import torch
from torch.nn import functional as F

from wsss_bench.methods.supervised import Supervised
from wsss_bench.types import MaskBatch


@pytest.fixture(scope="module")
def method():
    torch.manual_seed(0)
    return Supervised(("a", "b"), backbone="resnet10t", weights=None, width=16).eval()


def batch_of(mask):
    image = torch.rand(len(mask), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return MaskBatch([str(i) for i in range(len(mask))], image, mask, torch.ones_like(mask, dtype=torch.bool))


def masks():
    mask = torch.randint(0, 3, (4, 32, 32), generator=torch.Generator().manual_seed(1))
    mask[0, :20] = 255
    mask[2] = 255
    return mask


def test_loss_is_the_mean_over_images_of_the_mean_over_their_valid_pixels(method):
    batch = batch_of(masks())
    logits = F.interpolate(
        method.segmentation_logits(batch.image), (32, 32), mode="bilinear", align_corners=False
    )
    singles = [F.cross_entropy(logits[i : i + 1], batch.mask[i : i + 1], ignore_index=255) for i in (0, 1, 3)]
    expected = sum(singles) / 4  # image 2 has no valid pixel and gives 0
    torch.testing.assert_close(method.training_loss(batch)["cross_entropy"], expected)


def test_a_batch_of_ignored_pixels_gives_zero_not_nan(method):
    loss = method.training_loss(batch_of(torch.full((2, 32, 32), 255)))["cross_entropy"]
    loss.backward()
    assert loss.item() == 0


def test_ranks_with_equal_shares_of_a_batch_have_its_loss_on_average(method):
    whole = batch_of(masks())
    halves = [MaskBatch(whole.image_ids[i::2], *(tensor[i::2] for tensor in whole[1:])) for i in range(2)]
    losses = [method.training_loss(half)["cross_entropy"] for half in halves]
    torch.testing.assert_close(sum(losses) / 2, method.training_loss(whole)["cross_entropy"])
