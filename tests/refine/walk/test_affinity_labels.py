"""Affinity labels against IRN's outputs and PSA's rule."""

import numpy as np
import paths
import pytest

from wsss_bench.crf import densecrf
from wsss_bench.readout import scores_with_background
from wsss_bench.refine.walk.affinity_labels import IRNAffinityLabels, PSAAffinityLabels
from wsss_bench.types import ScoreMaps

GOLDEN = paths.GOLDEN / "clims"
pytestmark = pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "dense_crf.npz")


def maps_of(golden):
    classes = (golden["keys_minus1"] + 1).astype(np.uint8)
    return ScoreMaps("golden", classes, golden["high_res"], golden["image"].shape[:2])


@pytest.mark.parametrize(("foreground", "background"), [(0.3, 0.1), (0.3, 0.05), (0.35, 0.1)])
def test_labels_are_those_of_irn(golden, foreground, background):
    mask = IRNAffinityLabels(foreground, background)(golden["image"], maps_of(golden))
    expected = golden[f"conf_fg{foreground}_bg{background}"]
    assert mask.dtype == np.uint8
    assert (mask == expected).mean() > 0.995
    assert set(np.unique(mask)) == set(np.unique(expected))


def test_in_psa_the_background_of_the_high_alpha_overrides_the_foreground(golden):
    maps = maps_of(golden)
    scores = golden["psa_score_alpha4"][1:]
    np.testing.assert_allclose(scores_with_background(scores, 4), golden["psa_score_alpha4"], atol=1e-6)
    np.testing.assert_allclose(scores_with_background(scores, 32), golden["psa_score_alpha32"], atol=1e-6)
    mask = PSAAffinityLabels()(golden["image"], maps._replace(scores=scores))
    objects, background = (golden[f"psa_crf_alpha{alpha}"].argmax(axis=0) for alpha in (4, 32))
    expected = np.where(objects > 0, np.array([0, 5, 15])[objects], 255)
    expected[background == 0] = 0
    assert (mask == expected).mean() > 0.995
    assert {0, 255} < set(np.unique(mask))


@pytest.mark.parametrize("kind", [IRNAffinityLabels, PSAAffinityLabels])
def test_degenerate_seeds(kind):
    refiner = kind()
    image = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    no_class = ScoreMaps("none", np.zeros(0, np.uint8), np.zeros((0, 1, 1), np.float16), (9, 14))
    assert not refiner(image, no_class).any()
    zero = ScoreMaps("zero", np.array([3], np.uint8), np.zeros((1, 9, 14), np.float16), (9, 14))
    # IRN: background is the only class left for the CRF; PSA: its background score is 1
    assert not refiner(image, zero).any()
    everywhere = zero._replace(scores=np.ones((1, 9, 14), np.float16))
    assert (refiner(image, everywhere) == 3).all()
    dot = zero._replace(scores=zero.scores.copy())
    dot.scores[0, 4, 7] = 1
    assert set(np.unique(refiner(image, dot))) <= {0, 3, 255}


def test_levels_out_of_order_are_refused():
    with pytest.raises(ValueError, match=r"got background 0.4 and foreground 0.3"):
        IRNAffinityLabels(0.3, 0.4)
    with pytest.raises(ValueError, match="got 32 and 4"):
        PSAAffinityLabels(32, 4)
