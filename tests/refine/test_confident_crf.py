"""The pseudo masks of CLIP-ES against the outputs of the authors' code."""

import numpy as np
import paths
import pytest

from wsss_bench.crf import densecrf
from wsss_bench.crf.densecrf import crf_inference
from wsss_bench.metrics.functional import confusion, iou
from wsss_bench.plan.reader import read_configs
from wsss_bench.readout import scores_with_background, threshold_mask
from wsss_bench.refine.confident_crf import ConfidentCRFRefiner
from wsss_bench.types import IGNORE, ScoreMaps

GOLDEN = paths.GOLDEN / "clip_es"
FOLDER = read_configs(paths.CONFIGS)
needs_crf = pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")


def seeds(golden):
    """The maps of the arrays; their keys are classes that count from 0."""
    cams = golden["cams"]
    return ScoreMaps("golden", (golden["keys"] + 1).astype(np.uint8), cams, cams.shape[1:])


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "crf_confidence.npz")


@needs_crf
def test_masks_are_those_of_the_authors_code_on_the_image_as_it_is(golden):
    scores = scores_with_background(golden["cams"], 1)
    probabilities = crf_inference(golden["image_rgb"], scores, ConfidentCRFRefiner().crf)
    np.testing.assert_allclose(probabilities, golden["q_raw_rgb"], atol=1e-3)  # of two builds of the CRF
    mask = ConfidentCRFRefiner(confidence=0.95)(golden["image_rgb"], seeds(golden))
    np.testing.assert_array_equal(mask, golden["pseudo_mask_raw_rgb"])
    assert 0.02 < np.mean(mask == IGNORE) < 0.1
    # of the image in BGR whose dark pixels wrap around, as published
    assert 0 < np.mean(mask != golden["pseudo_mask"]) < 0.005


@needs_crf
def test_without_confidence_every_pixel_is_decided_and_the_others_are_the_same(golden):
    decided = ConfidentCRFRefiner()(golden["image_rgb"], seeds(golden))
    confident = ConfidentCRFRefiner(confidence=0.95)(golden["image_rgb"], seeds(golden))
    assert set(np.unique(decided)) <= {0, *(golden["keys"] + 1)}
    np.testing.assert_array_equal(confident[confident < IGNORE], decided[confident < IGNORE])
    assert (ConfidentCRFRefiner(confidence=1.0)(golden["image_rgb"], seeds(golden)) == IGNORE).any()


@needs_crf
def test_images_of_any_size_and_none_without_classes():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (375, 500, 3), dtype=np.uint8)
    coarse = rng.random((2, 24, 32)).astype(np.float16)
    maps = ScoreMaps("a", np.array([3, 7], np.uint8), coarse, (375, 500))
    mask = ConfidentCRFRefiner(confidence=0.95)(image, maps)
    assert (mask.shape, mask.dtype) == ((375, 500), np.uint8)
    assert set(np.unique(mask)) <= {0, 3, 7, IGNORE}
    empty = ScoreMaps("b", np.zeros(0, np.uint8), np.zeros((0, 1, 1), np.float16), (375, 500))
    assert not ConfidentCRFRefiner(confidence=0.95)(image, empty).any()


@needs_crf
@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"confidence": 1.5}, {"confidence": -0.1}])
def test_values_out_of_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"refiner\.init_args\.{name}"):
        ConfidentCRFRefiner(**wrong)


def test_one_file_is_scored_and_the_other_trained_on():
    for data in ("voc", "coco", "mini"):
        scored, trained = (FOLDER.refiner(name, data, {}) for name in ("crf_one_minus_max", "crf_confident"))
        assert (scored.scored, trained.scored) == (True, False)
        arguments = dict(trained.refiner.init_args)
        assert arguments.pop("confidence") == 0.95
        assert {**arguments, "confidence": None} == scored.refiner.init_args
        assert trained.refiner.init_args["crf"]["bilateral_sxy"] == (13 if data == "mini" else 67)


def test_its_two_alphas_are_constant_thresholds():
    """The authors read seeds with (1 - max)^alpha: alpha 1 is the threshold 1/2, alpha 2 (3 - sqrt 5)/2."""
    golden = np.load(GOLDEN / "eval_cam.npz")
    for name, threshold in (("miou_1", 0.5), ("miou_2", (3 - 5**0.5) / 2), ("miou_0_3", 0.3)):
        mask = threshold_mask(seeds(golden), threshold)
        scores = iou(confusion(mask, golden["gt"], 21))  # NaN for classes that do not occur
        # with alpha 2 one pixel of the float16 maps is a tie in float32
        np.testing.assert_allclose(np.nanmean(scores), golden[name], atol=5e-4)
