"""The threshold refiner against the read-out of seeds."""

import numpy as np
import pytest

from wsss_bench.readout import threshold_mask
from wsss_bench.refine.threshold import ThresholdRefiner
from wsss_bench.types import ScoreMaps


def test_its_masks_are_those_that_the_fixed_rule_scores():
    scores = np.random.default_rng(0).random((2, 5, 6)).astype(np.float16)
    maps = ScoreMaps("a", np.array([2, 5], np.uint8), scores, (9, 11))
    mask = ThresholdRefiner(0.4)(np.zeros((9, 11, 3), np.uint8), maps)
    np.testing.assert_array_equal(mask, threshold_mask(maps, 0.4))


def test_a_threshold_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"threshold is 1\.5; expected"):
        ThresholdRefiner(1.5)
