"""Both cross-entropies against the authors' code (CLIMS' DeepLab, ToCo), and where theirs is not finite."""

import numpy as np
import paths
import pytest
import torch
from torch.nn import functional as F

from wsss_bench.losses.segmentation import balanced_cross_entropy, cross_entropy, resize_labels

GOLDEN = paths.GOLDEN
DEEPLAB = np.load(GOLDEN / "clims" / "deeplab.npz")
TOCO = np.load(GOLDEN / "single_stage" / "seg_loss.npz")


def test_labels_are_resized_as_pil_does():
    label = torch.tensor(DEEPLAB["label"])
    np.testing.assert_array_equal(resize_labels(label, (6, 6)), DEEPLAB["label_resized"])
    column = torch.arange(7).view(1, 7, 1)
    assert resize_labels(column, (3, 1)).flatten().tolist() == [
        1,
        3,
        5,
    ]  # cells of 7/3, centres at 1.2, 3.5, 5.8


@pytest.mark.parametrize(
    ("golden", "label", "loss", "gradient"),
    [(DEEPLAB, "label_resized", "balanced_loss", "balanced_grad"), (TOCO, "label", "loss", "grad_logits")],
)
def test_balanced_loss_and_its_gradient_are_the_published_ones(golden, label, loss, gradient):
    logits = torch.tensor(golden["logits"], requires_grad=True)
    value = balanced_cross_entropy(logits, torch.tensor(golden[label]).long())
    value.backward()
    np.testing.assert_allclose(value.detach(), golden[loss], rtol=1e-5)
    np.testing.assert_allclose(logits.grad, golden[gradient], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("golden", "label", "loss"),
    [(DEEPLAB, "label_resized", "plain_ce"), (TOCO, "label", "plain_ce_for_contrast")],
)
def test_plain_loss_is_the_published_one(golden, label, loss):
    value = cross_entropy(torch.tensor(golden["logits"]), torch.tensor(golden[label]).long())
    np.testing.assert_allclose(value, golden[loss], rtol=1e-5)


@pytest.mark.parametrize("label", ["label_only_bg", "label_only_fg"])
def test_a_half_without_pixels_is_zero(label):
    labels = torch.tensor(TOCO[label]).long()
    logits = torch.tensor(TOCO["logits"], requires_grad=True)
    value = balanced_cross_entropy(logits, labels)
    value.backward()
    torch.testing.assert_close(value, 0.5 * F.cross_entropy(logits, labels, ignore_index=255))
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.any()


@pytest.mark.parametrize("loss", [cross_entropy, balanced_cross_entropy])
def test_a_batch_of_ignored_pixels_is_zero_with_a_gradient_of_zero(loss):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad.eq(0).all()


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) for logits \(1, 3, 2, 2\)"):
        cross_entropy(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 4).long())
