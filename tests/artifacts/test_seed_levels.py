"""Scores as levels: what a threshold or an argmax gives is the same before and after."""

import numpy as np
import pytest

from wsss_bench.artifacts.seed_levels import LEVELS, distinct_winner, levels_of, scores_of


def every_half():
    """Each float16 in [0, 1]."""
    return np.arange(0x3C01, dtype=np.uint16).view(np.float16)


def test_every_threshold_of_the_curve_decides_as_before():
    halves = every_half()
    read = scores_of(levels_of(halves))
    assert read.dtype == np.float16
    assert np.abs(read.astype(np.float64) - halves).max() <= 1 / (2 * LEVELS) + 2**-12  # of float16
    for threshold in (np.arange(LEVELS + 1) / LEVELS).astype(np.float32):
        np.testing.assert_array_equal(
            halves.astype(np.float32) > threshold, read.astype(np.float32) > threshold
        )


def test_the_ends():
    assert levels_of(np.array([0.0, -0.0, 1e-7, 1.0, 1.0009], np.float16)).tolist() == [
        0,
        0,
        1,
        LEVELS,
        LEVELS,
    ]
    assert levels_of(np.zeros((0, 1, 1))).shape == (0, 1, 1)
    assert scores_of(np.uint8([0])).tolist() == [0]


@pytest.mark.parametrize("value", [-1e-3, 1.01, 70000.0, np.nan, np.inf])
def test_what_is_no_score_is_refused(value):
    with pytest.raises(ValueError, match="expected 0 to 1, each map divided by its maximum"):
        levels_of(np.array([0.5, value], np.float32))


def test_the_best_of_close_scores_wins():
    random = np.random.default_rng(0)
    scores = (random.random((4, 60, 50)) * 0.02 + random.integers(0, 3, (1, 60, 50)) / 4).astype(np.float16)
    scores[:, :9] = 0
    levels = levels_of(scores)
    assert (levels.argmax(axis=0) != scores.argmax(axis=0)).any()
    told = distinct_winner(levels, scores)
    np.testing.assert_array_equal(told.argmax(axis=0), scores.argmax(axis=0))
    np.testing.assert_array_equal(told.max(axis=0), levels.max(axis=0))
    assert (levels.astype(int) - told).max() == 1
    assert not told[:, :9].any()
