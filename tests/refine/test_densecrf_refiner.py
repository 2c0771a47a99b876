"""DenseCRF as a refiner of seeds."""

import sys

import numpy as np
import pytest

from wsss_bench.crf import densecrf
from wsss_bench.crf.densecrf import CRFConfig
from wsss_bench.readout import threshold_mask
from wsss_bench.refine.densecrf import DenseCRFRefiner
from wsss_bench.types import ScoreMaps

needs_crf = pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")


def scene(height=40, width=48):
    """A bright square on a dark ground, and seeds of class 4 that miss part of it."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[10:30, 12:36] = 200
    image += np.random.default_rng(0).integers(0, 8, image.shape, dtype=np.uint8)
    scores = np.zeros((2, height, width), np.float16)
    scores[0, 6:34, 8:40] = 0.25
    scores[0, 12:26, 14:32] = 0.9
    scores[1, 2:5, 2:5] = 0.35
    return image, ScoreMaps("square", np.array([4, 2], np.uint8), scores, (height, width))


@needs_crf
def test_it_is_the_threshold_without_iterations_and_follows_edges_with_them():
    image, maps = scene()
    plain = DenseCRFRefiner(0.3, CRFConfig(iterations=0))(image, maps)
    np.testing.assert_array_equal(plain, threshold_mask(maps, 0.3))
    mask = DenseCRFRefiner(0.3, CRFConfig(3, 3, 20, 10, 10, 10))(image, maps)
    truth = np.zeros((40, 48), np.uint8)
    truth[10:30, 12:36] = 4
    assert mask.dtype == np.uint8
    assert np.mean(mask == truth) > 0.99 > np.mean(plain == truth)


@needs_crf
def test_an_image_without_classes_is_background():
    maps = ScoreMaps("a", np.zeros(0, np.uint8), np.zeros((0, 1, 1), np.float16), (3, 4))
    assert not DenseCRFRefiner(0.3)(np.zeros((3, 4, 3), np.uint8), maps).any()


def test_without_the_extension_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setattr(densecrf, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="`make crf`"):
        DenseCRFRefiner(0.3)
