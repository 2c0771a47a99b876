"""The kinds of errors at each pixel."""

from __future__ import annotations

import numpy as np
import pytest

from wsss_bench.report.html.errors import (
    BACKGROUND,
    BOUNDARY,
    LEAK,
    MISSED,
    NOT_COUNTED,
    OBJECT,
    WRONG_CLASS,
    error_map,
)


@pytest.fixture
def truth():
    """A square of class 1 in the middle; 2 % of the diagonal are one pixel."""
    truth = np.zeros((40, 40), np.uint8)
    truth[10:30, 10:30] = 1
    return truth


def test_each_kind(truth):
    prediction = truth.copy()
    prediction[15:17, 15:17] = 0
    prediction[20:22, 20:22] = 2
    prediction[2:4, 2:4] = 1
    prediction[9, 15] = 1  # beside the border
    found = error_map(prediction, truth)
    assert (found[15, 15], found[20, 20], found[2, 2], found[9, 15]) == (MISSED, WRONG_CLASS, LEAK, BOUNDARY)
    assert (found[0, 0], found[25, 25], found[10, 10]) == (BACKGROUND, OBJECT, OBJECT)
    assert np.bincount(found.ravel(), minlength=7).tolist() == [1600 - 400 - 5, 400 - 8, 4, 4, 4, 1, 0]


def test_the_band_is_one_pixel_on_both_sides_here(truth):
    missed = error_map(np.zeros_like(truth), truth)
    assert (missed[10, 20], missed[11, 20], missed[29, 20]) == (BOUNDARY, MISSED, BOUNDARY)
    leak = error_map(np.ones_like(truth), truth)
    assert (leak[9, 20], leak[8, 20]) == (BOUNDARY, LEAK)


def test_ignored_and_undecided_pixels_are_no_errors(truth):
    truth[0, :] = 255
    prediction = np.where(truth == 255, np.uint8(1), truth)
    prediction[20, :] = 255
    found = error_map(prediction, truth)
    assert set(found[[0, 20]].ravel()) == {NOT_COUNTED}
    assert set(found.ravel()) == {BACKGROUND, OBJECT, NOT_COUNTED}


def test_without_background_there_is_neither_leak_nor_missed_object():
    truth = np.full((40, 40), 255, np.uint8)
    truth[5:35, 5:20], truth[5:35, 20:35] = 1, 2
    prediction = np.full((40, 40), 2, np.uint8)
    assert set(error_map(prediction, truth).ravel()) == {OBJECT, WRONG_CLASS, BOUNDARY, NOT_COUNTED}


def test_other_sizes_are_refused(truth):
    with pytest.raises(ValueError, match=r"\(10, 40\).*\(40, 40\)"):
        error_map(truth[:10], truth)
