"""Losses of IRNet and AffinityNet against the outputs of IRN and PSA, on two ranks, and without pairs."""

import numpy as np
import paths
import pytest
import torch

from wsss_bench.refine.walk.affinity_pairs import boundary_affinity, pair_offsets
from wsss_bench.refine.walk.irnet import labels_at_stride_4
from wsss_bench.refine.walk.losses import affinity_loss, displacement_loss, pair_labels

GOLDEN = paths.GOLDEN / "clims"


def test_losses_and_gradients_are_those_of_irn():
    reference = np.load(GOLDEN / "irn_losses.npz")
    logits = torch.from_numpy(reference["edge_logits"]).requires_grad_()
    displacement = torch.from_numpy(reference["displacement"]).requires_grad_()
    pairs = pair_labels(torch.from_numpy(reference["segmentation"]).long(), 4)
    for name, kind in zip(("bg_pos", "fg_pos", "neg"), pairs, strict=True):
        np.testing.assert_array_equal(kind.float(), reference[f"{name}_label"])
    affinity = boundary_affinity(logits.sigmoid()[:, 0], 4)
    np.testing.assert_allclose(affinity.detach(), reference["affinity"], rtol=1e-5, atol=1e-6)
    loss = affinity_loss(affinity, pairs)
    displacement_fg, displacement_bg = displacement_loss(displacement, pairs, 4)
    values = [*loss, displacement_fg, displacement_bg]
    names = ("bg_pos_aff_loss", "fg_pos_aff_loss", "neg_aff_loss", "dp_fg_loss", "dp_bg_loss")
    for value, name in zip(values, names, strict=True):
        assert value.item() == pytest.approx(float(reference[name]), rel=1e-5)
    total = (
        (loss.background + loss.foreground) / 4 + loss.negative / 2 + (displacement_fg + displacement_bg) / 2
    )
    assert total.item() == pytest.approx(float(reference["total_loss"]), rel=1e-5)
    total.backward()
    np.testing.assert_allclose(logits.grad, reference["grad_edge_logits"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(displacement.grad, reference["grad_displacement"], rtol=1e-5, atol=1e-6)


def gradients_of_a_rank(rank):
    """Gradients of the losses of one image per rank, divided by the number of ranks."""
    reference = np.load(GOLDEN / "irn_losses.npz")
    own = slice(rank, rank + 1)
    logits = torch.from_numpy(reference["edge_logits"][own]).requires_grad_()
    displacement = torch.from_numpy(reference["displacement"][own]).requires_grad_()
    pairs = pair_labels(torch.from_numpy(reference["segmentation"][own]).long(), 4)
    loss = affinity_loss(boundary_affinity(logits.sigmoid()[:, 0], 4), pairs)
    displacement_fg, displacement_bg = displacement_loss(displacement, pairs, 4)
    total = (
        (loss.background + loss.foreground) / 4 + loss.negative / 2 + (displacement_fg + displacement_bg) / 2
    )
    total.backward()
    return {"edge": logits.grad.numpy() / 2, "displacement": displacement.grad.numpy() / 2}


def test_two_ranks_give_the_gradient_of_one_process(rank_pair):
    reference = np.load(GOLDEN / "irn_losses.npz")
    found = rank_pair.call(gradients_of_a_rank)
    for name, gradient in (("edge", "grad_edge_logits"), ("displacement", "grad_displacement")):
        both = np.concatenate([one[name] for one in found])
        np.testing.assert_allclose(both, reference[gradient], rtol=1e-5, atol=1e-6)


def test_pairs_are_those_of_psa():
    reference = np.load(GOLDEN / "psa.npz")
    pairs = pair_labels(torch.from_numpy(reference["segmentation"]).long()[None], 5)
    offsets = pair_offsets(5)
    order = [offsets.index(offset) for offset in sorted(offsets)]  # PSA sorts them row by row
    for name, kind in zip(("bg", "fg", "neg"), pairs, strict=True):
        np.testing.assert_array_equal(kind[0, order].float(), reference[f"{name}_label"])
    assert pairs.foreground.any()
    assert pairs.negative.any()


@pytest.mark.parametrize("value", [255, 0, 3])
def test_kinds_without_pairs_have_no_loss(value):
    """All pixels are 255; all are background; all are of one class."""
    logits = torch.randn(2, 8, 12, requires_grad=True)
    displacement = torch.randn(2, 2, 8, 12, requires_grad=True)
    pairs = pair_labels(torch.full((2, 8, 12), value), 4)
    loss = affinity_loss(boundary_affinity(logits.sigmoid(), 4), pairs)
    losses = [*loss, *displacement_loss(displacement, pairs, 4)]
    assert [bool(part > 0) for part in losses] == [value == 0, value == 3, False, value == 3, value == 0]
    sum(losses).backward()
    for part in (logits, displacement):
        assert torch.isfinite(part.grad).all()
        assert part.grad.any() == (value != 255)


def test_labels_are_reduced_as_in_pil():
    reference = np.load(GOLDEN / "image_utils.npz")
    reduced = labels_at_stride_4(torch.from_numpy(reference["label"])[None], torch.zeros(1, 8, 8))
    np.testing.assert_array_equal(reduced[0], reference["label_rescale_025_nearest"])
    with pytest.raises(ValueError, match="crop_size to a multiple of 4"):
        labels_at_stride_4(torch.zeros(1, 33, 32), torch.zeros(1, 9, 8))
