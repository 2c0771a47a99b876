"""Scores as levels: what a threshold or an argmax gives is the same before and after."""

import numpy as np
import pytest

from wsss_bench.artifacts.seed_levels import LEVELS, distinct_winner, levels_of, pack, scores_of, unpack


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


@pytest.mark.parametrize("shape", [(2, 37, 53), (1, 1, 1), (3, 1, 40), (3, 40, 1), (0, 1, 1)])
def test_packed_levels_come_back(shape):
    levels = np.random.default_rng(0).integers(0, LEVELS + 1, shape).astype(np.uint8)
    np.testing.assert_array_equal(unpack(pack(levels), shape), levels)


def test_smooth_maps_become_small():
    rows, columns = np.mgrid[0:375, 0:500] / 500
    levels = levels_of(np.abs(np.sin(7 * rows + 3) * np.cos(5 * columns))[None])
    assert len(pack(levels)) < levels.size / 4


def test_no_more_is_unpacked_than_the_shape_takes():
    content = pack(np.zeros((1, 4000, 4000), np.uint8))
    assert len(content) < 100_000
    for shape in ((1, 10, 10), (1, 4000, 4001)):
        with pytest.raises(ValueError, match="do not have the shape"):
            unpack(content, shape)
