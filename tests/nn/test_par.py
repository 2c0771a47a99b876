"""PAR against the authors' module (ToCo)."""

import numpy as np
import paths
import pytest
import torch

from wsss_bench.nn.par import PAR

GOLDEN = paths.GOLDEN / "single_stage"


@pytest.fixture
def golden():
    return np.load(GOLDEN / "par.npz")


@pytest.mark.parametrize(
    ("name", "iterations", "dilations"),
    [
        ("out_1it", 1, (1, 2, 4, 8, 12, 24)),
        ("out_10it", 10, (1, 2, 4, 8, 12, 24)),
        ("out_20it", 20, (1, 2, 4, 8, 12, 24)),
        ("out_10it_dil1248", 10, (1, 2, 4, 8)),
    ],
)
def test_refined_masks_equal_the_published_ones(golden, name, iterations, dilations):
    par = PAR(iterations, dilations)
    refined = par(torch.tensor(golden["imgs"]), torch.tensor(golden["masks_in"]))
    np.testing.assert_allclose(refined, golden[name], rtol=1e-4, atol=1e-5)


def test_weclip_reduces_the_image_to_the_masks_and_refines_at_their_size():
    arrays = np.load(GOLDEN / "par_weclip.npz")
    masks = torch.tensor(arrays["masks_in"])
    images = torch.nn.functional.interpolate(
        torch.tensor(arrays["imgs"]), masks.shape[-2:], mode="bilinear", align_corners=True
    )
    np.testing.assert_allclose(PAR(20)(images, masks), arrays["out_20it"], rtol=1e-4, atol=1e-5)


def test_the_sum_of_a_mask_grows_by_one_percent_in_every_iteration(golden):
    masks = torch.nn.functional.interpolate(torch.tensor(golden["masks_in"]), (20, 24), mode="nearest")
    constant = torch.ones_like(masks)
    refined = PAR(10)(torch.tensor(golden["imgs"]), constant)
    torch.testing.assert_close(refined, constant * 1.01**10, rtol=1e-4, atol=1e-5)


def test_an_image_of_one_colour_stays_finite():
    golden = np.load(GOLDEN / "par_constant_image.npz")
    refined = PAR(10)(torch.tensor(golden["imgs"]), torch.tensor(golden["masks_in"]))
    np.testing.assert_allclose(refined, golden["out_10it"], rtol=1e-4, atol=1e-5)
