"""PAMR against arrays of TCL's code, and its corner cases."""

import numpy as np
import paths
import pytest
import torch

from wsss_bench.nn.pamr import DILATIONS, local_deviation, pamr, pamr_weights

GOLDEN = {key: torch.tensor(value) for key, value in np.load(paths.GOLDEN / "code" / "pamr.npz").items()}


@pytest.mark.parametrize(
    ("name", "iterations", "dilations"),
    [
        ("out_iter1", 1, (1, 2, 4, 8, 12, 24)),
        ("out_iter10", 10, (1, 2, 4, 8, 12, 24)),
        ("out_iter1_dil1", 1, (1,)),
    ],
)
def test_refined_masks_are_those_of_tcl(name, iterations, dilations):
    refined = pamr(GOLDEN["img"], GOLDEN["mask"], iterations, dilations)
    torch.testing.assert_close(refined, GOLDEN[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "dilations"), [("std_all_dilations", DILATIONS), ("std_dil1", (1,))])
def test_standard_deviation_is_over_all_dilations_together(name, dilations):
    deviation = local_deviation(GOLDEN["img"], dilations)
    torch.testing.assert_close(deviation, GOLDEN[name][:, :, 0], rtol=1e-4, atol=1e-5)


def test_weights_sum_to_one_and_do_not_depend_on_the_normalisation():
    weights = pamr_weights(GOLDEN["img"])
    assert weights.shape == (2, 48, 20, 24)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 20, 24))
    scaled = GOLDEN["img"] * 4 - torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    torch.testing.assert_close(pamr_weights(scaled), weights, rtol=1e-3, atol=1e-4)


def test_masks_do_not_cross_a_colour_edge():
    image = torch.zeros(1, 3, 12, 12)
    image[..., 6:] = 1
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., 2:4] = 1
    refined = pamr(image, mask, 10, (1, 2))[0, 0]
    assert refined[:, :6].min() > 0.05
    assert refined[:, 6:].max() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (5, 7)])
def test_a_uniform_image_smooths_and_stays_finite(size):
    refined = pamr(torch.full((1, 3, *size), 0.3), torch.full((1, 2, *size), 0.7))
    torch.testing.assert_close(refined, torch.full((1, 2, *size), 0.7))
