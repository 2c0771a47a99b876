"""The band around the boundaries of a mask, against a plain loop."""

import math

import numpy as np
import pytest

from wsss_bench.metrics.boundary import boundary_band, near_boundary


def plain(target):
    height, width = target.shape
    reach = max(1, round(0.02 * math.hypot(height, width)))
    band = np.zeros(target.shape, bool)
    for y in range(height):
        for x in range(width):
            window = target[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            band[y, x] = (window != target[y, x]).any() or len(np.unique(window)) > 1
    return band


@pytest.mark.parametrize("size", [(96, 96), (41, 120), (3, 5)])
def test_the_band_is_where_another_value_is_in_reach(size):
    target = np.zeros(size, np.uint8)
    target[size[0] // 3 :, : size[1] // 2] = 7
    target[-1, -1] = 255
    np.testing.assert_array_equal(boundary_band(target), plain(target))


def test_a_boundary_in_the_middle_has_its_half_width_on_both_sides():
    target = np.zeros((300, 400), np.uint8)  # diagonal 500, so 10 pixels
    target[:, 200:] = 1
    assert np.flatnonzero(boundary_band(target)[150]).tolist() == list(range(190, 210))


def test_outside_the_band_nothing_counts_and_inside_255_stays():
    target = np.full((300, 400), 3, np.uint8)
    target[:, 195:205] = 255
    near = near_boundary(target)
    assert set(near[:, :185].ravel()) == {255}
    assert set(near[:, 185:195].ravel()) == {3}
    assert set(near[:, 195:205].ravel()) == {255}


def test_a_mask_of_one_value_has_no_boundary():
    assert not boundary_band(np.full((20, 30), 4, np.uint8)).any()
