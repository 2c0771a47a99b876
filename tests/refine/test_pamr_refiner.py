"""PAMR as a refiner."""

import numpy as np
import pytest

from wsss_bench.readout import threshold_mask
from wsss_bench.refine.pamr import PAMRRefiner
from wsss_bench.types import ScoreMaps


@pytest.fixture
def picture():
    """A bright disc on dark noise, and a seed of class 3 that is small and too far left."""
    rows, columns = np.mgrid[0:40, 0:48]
    disc = (rows - 20) ** 2 + (columns - 24) ** 2 < 144
    noise = np.random.default_rng(0).integers(0, 25, (40, 48, 3))
    image = (np.where(disc[..., None], 200, 20) + noise).astype(np.uint8)
    seed = np.exp(-((rows - 20) ** 2 + (columns - 19) ** 2) / 60.0)
    maps = ScoreMaps("a", np.array([3], np.uint8), seed[None].astype(np.float16), (40, 48))
    return image, maps, disc


def test_the_mask_fits_the_object_better_than_the_seed(picture):
    image, maps, disc = picture

    def iou(mask):
        assert set(np.unique(mask)) <= {0, 3}
        return ((mask == 3) & disc).sum() / ((mask == 3) | disc).sum()

    assert iou(PAMRRefiner(0.3)(image, maps)) > iou(threshold_mask(maps, 0.3)) + 0.1


def test_without_iterations_it_is_the_threshold(picture):
    image, maps, _ = picture
    refined = PAMRRefiner(0.3, iterations=0)(image, maps)
    assert refined.dtype == np.uint8
    np.testing.assert_array_equal(refined, threshold_mask(maps, 0.3))


def test_an_image_without_labels_is_background():
    empty = ScoreMaps("a", np.zeros(0, np.uint8), np.zeros((0, 1, 1), np.float16), (6, 5))
    mask = PAMRRefiner(0.3)(np.zeros((6, 5, 3), np.uint8), empty)
    np.testing.assert_array_equal(mask, np.zeros((6, 5)))


def test_one_pixel():
    maps = ScoreMaps("a", np.array([2], np.uint8), np.ones((1, 1, 1), np.float16), (1, 1))
    assert PAMRRefiner(0.3)(np.full((1, 1, 3), 9, np.uint8), maps).tolist() == [[2]]


def test_small_maps_are_enlarged(picture):
    image, maps, _ = picture
    small = maps._replace(scores=maps.scores[:, ::4, ::4])
    assert PAMRRefiner(0.3)(image, small).shape == (40, 48)


@pytest.mark.parametrize(
    "arguments",
    [{"threshold": 1.5}, {"threshold": 0.3, "iterations": -1}, {"threshold": 0.3, "dilations": []}],
)
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        PAMRRefiner(**arguments)
