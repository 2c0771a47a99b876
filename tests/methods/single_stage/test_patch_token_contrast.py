"""Patch token contrast (PTC) against the authors' loss."""

import numpy as np
import paths
import pytest
import torch

from wsss_bench.methods.single_stage.patch_token_contrast import affinity_mask, patch_token_contrast

GOLDEN = np.load(paths.GOLDEN / "single_stage" / "ptc_loss.npz")


def test_affinity_mask_equals_the_published_one():
    assert torch.equal(affinity_mask(torch.tensor(GOLDEN["label"])), torch.tensor(GOLDEN["aff_mask"]))


def test_loss_and_gradient_equal_the_published_ones():
    patches = torch.tensor(GOLDEN["feat"], requires_grad=True)
    loss = patch_token_contrast(patches, torch.tensor(GOLDEN["aff_mask"]))
    loss.backward()
    assert loss.item() == pytest.approx(float(GOLDEN["loss"]), rel=1e-4)
    np.testing.assert_allclose(patches.grad, GOLDEN["grad_feat"], rtol=1e-4, atol=1e-5)


def test_a_batch_of_padding_only_has_no_pairs_and_no_gradient():
    patches = torch.randn(2, 4, 3, 3, requires_grad=True)
    loss = patch_token_contrast(patches, affinity_mask(torch.full((2, 3, 3), 255)))
    loss.backward()
    assert loss.item() == 0.5
    assert not patches.grad.any()
