"""Pairs and their loss against the authors' code (WeCLIP, from AFA), and counts over ranks."""

import golden_weclip
import numpy as np
import pytest
import torch
from torch import distributed

from wsss_bench.losses.pair_affinity import label_pairs, pair_affinity_loss, patch_labels

GOLDEN = golden_weclip.golden("losses")
LABELS = patch_labels(torch.tensor(GOLDEN["label"]).long(), (4, 3))


def test_pairs_within_the_window_are_the_published_ones():
    np.testing.assert_array_equal(label_pairs(LABELS, 1), GOLDEN["aff_label"])
    np.testing.assert_array_equal(label_pairs(LABELS), GOLDEN["aff_label_no_mask"])


@pytest.mark.parametrize(
    ("grid", "radius", "expected"), [((4, 3), 1, "radius_mask"), ((5, 4), 2, "radius_mask_5x4_r2")]
)
def test_the_window_is_a_square_around_each_patch(grid, radius, expected):
    pairs = label_pairs(torch.zeros(1, *grid, dtype=torch.long), radius)
    np.testing.assert_array_equal(pairs[0] == 1, GOLDEN[expected] == 1)


def test_the_published_window_is_eight_patches_of_twenty():
    counts = (label_pairs(torch.zeros(1, 20, 20, dtype=torch.long), 8)[0] == 1).sum(1)
    np.testing.assert_array_equal(counts, GOLDEN["radius_mask_20x20_r8_row_sums"])


def test_loss_and_gradient_are_the_published_ones():
    affinity = torch.tensor(GOLDEN["affinity"], requires_grad=True)
    pairs = label_pairs(LABELS, 1)
    loss = pair_affinity_loss(affinity, pairs)
    loss.backward()
    np.testing.assert_allclose(loss.detach(), GOLDEN["aff_loss"], rtol=1e-5)
    np.testing.assert_allclose(affinity.grad, GOLDEN["aff_grad"], rtol=1e-4, atol=1e-7)
    counts = [1 + (pairs == kind).sum() for kind in (1, 0)]  # the published counts have the 1 in them
    assert counts == [GOLDEN["pos_count"], GOLDEN["neg_count"]]


def test_a_label_is_that_of_the_first_pixel_of_a_patch():
    label = torch.full((1, 375, 500), 7)
    label[:, ::25, ::25] = 3
    assert patch_labels(label, (15, 20)).unique().tolist() == [3]


def test_labels_that_are_ignored_everywhere_have_a_loss_of_zero():
    affinity = torch.rand(2, 6, 6, requires_grad=True)
    loss = pair_affinity_loss(affinity, label_pairs(torch.full((2, 2, 3), 255), 1))
    loss.backward()
    assert loss.item() == 0
    assert affinity.grad.eq(0).all()


def test_sums_over_many_pairs_are_in_float32():
    affinity = torch.full((1, 400, 400), 0.25, dtype=torch.bfloat16)
    loss = pair_affinity_loss(affinity, label_pairs(torch.zeros(1, 20, 20, dtype=torch.long)))
    torch.testing.assert_close(loss, torch.tensor(0.5 * 0.75), rtol=1e-4, atol=0)


def gradient_on_a_rank(rank):
    affinity = torch.tensor(GOLDEN["affinity"], requires_grad=True)
    loss = pair_affinity_loss(affinity[rank : rank + 1], label_pairs(LABELS[rank : rank + 1], 1))
    loss.backward()
    distributed.all_reduce(affinity.grad)
    return (affinity.grad / 2).numpy()


def test_two_ranks_have_the_gradient_of_one_process(rank_pair):
    for gradient in rank_pair.call(gradient_on_a_rank):
        np.testing.assert_allclose(gradient, GOLDEN["aff_grad"], rtol=1e-4, atol=1e-7)
