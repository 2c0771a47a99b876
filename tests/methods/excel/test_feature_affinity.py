"""Affinity of the adapter's features against the authors' code, and its mean over batch, image and ranks."""

import golden_excel
import torch
from golden_excel import TOLERANCE
from torch.testing import assert_close

from wsss_bench.losses.pair_affinity import label_pairs, pair_affinity_loss, patch_labels
from wsss_bench.methods.excel.feature_affinity import (
    affinity,
    calibration_bias,
    cosines,
    mean_of_batch,
    mean_of_images,
)

ARRAYS = golden_excel.tensors("losses")


def test_affinity_loss_and_gradients_are_the_published_ones():
    features = ARRAYS["diversity_features"].requires_grad_()
    similarity = cosines(features.flatten(2).mT)
    learned = affinity(similarity, mean_of_batch(similarity))
    learned.retain_grad()
    assert_close(learned, ARRAYS["diversity_affinity"], **TOLERANCE)
    pairs = label_pairs(patch_labels(ARRAYS["pair_label_image"].long(), (6, 7)), radius=2)
    assert torch.equal(pairs, ARRAYS["pair_labels"])
    loss = pair_affinity_loss(learned, pairs)
    loss.backward()
    assert_close(loss, ARRAYS["diversity_loss"], **TOLERANCE)
    assert_close(learned.grad, ARRAYS["diversity_grad_affinity"], rtol=1e-4, atol=1e-8)
    assert_close(features.grad, ARRAYS["diversity_grad_features"], rtol=1e-3, atol=1e-7)
    assert 1 + (pairs == 1).sum() == ARRAYS["diversity_pairs_same"]
    assert 1 + (pairs == 0).sum() == ARRAYS["diversity_pairs_different"]


def test_an_image_twice_has_the_affinity_of_the_image_alone():
    torch.manual_seed(0)
    one = cosines(torch.randn(1, 6, 4))
    two = one.repeat(2, 1, 1)
    assert_close(affinity(two, mean_of_batch(two))[:1], affinity(one, mean_of_batch(one)))


def test_the_mean_of_images_is_over_the_views_of_one():
    torch.manual_seed(0)
    similarity = cosines(torch.randn(6, 5, 4))  # three images, then their mirror images
    means = mean_of_images(similarity, views=2)
    assert_close(means[1], means[4])
    assert_close(means[1].squeeze(), similarity[[1, 4]].mean())
    assert_close(mean_of_images(similarity)[2].squeeze(), similarity[2].mean())


def test_rows_of_the_bias_add_up_to_one_and_leave_out_what_differs():
    torch.manual_seed(0)
    similarity = cosines(torch.randn(2, 8, 3))
    mean = mean_of_batch(similarity)
    bias = calibration_bias(similarity, mean)
    assert_close(bias.sum(dim=2), torch.ones(2, 8))
    assert torch.equal(bias == 0, similarity < mean)


def test_equal_features_give_a_finite_bias():
    """Rounding then decides whether a cosine is below the mean."""
    for value in (0.1, 0.7, 1 / 3):
        similarity = cosines(torch.full((1, 9, 7), value))
        assert torch.isfinite(calibration_bias(similarity, mean_of_batch(similarity) + 1e-6)).all()
    assert torch.isfinite(cosines(torch.zeros(1, 3, 2))).all()
