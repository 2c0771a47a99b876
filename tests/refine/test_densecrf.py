"""The CRF against reference outputs, without the extension, and in a pool."""

import sys

import numpy as np
import paths
import pytest

from wsss_bench.artifacts.files import read_mask
from wsss_bench.crf import densecrf
from wsss_bench.crf.densecrf import IRN_LABELS, CRFConfig, CRFPool
from wsss_bench.readout import threshold_mask
from wsss_bench.refine.densecrf import DenseCRFRefiner
from wsss_bench.types import ScoreMaps

GOLDEN = paths.GOLDEN / "clims"
needs_crf = pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "dense_crf.npz")


def scene(height=40, width=48):
    """A bright square on a dark ground, and scores that miss part of it."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[10:30, 12:36] = 200
    image += np.random.default_rng(0).integers(0, 8, image.shape, dtype=np.uint8)
    scores = np.zeros((2, height, width), np.float16)
    scores[0, 6:34, 8:40] = 0.25
    scores[0, 12:26, 14:32] = 0.9
    scores[1, 2:5, 2:5] = 0.35
    return image, ScoreMaps("square", np.array([4, 2], np.uint8), scores, (height, width))


@needs_crf
def test_probabilities_as_in_deeplab(golden):
    config = CRFConfig(
        gaussian_sxy=1, gaussian_compat=3, bilateral_sxy=67, bilateral_srgb=3, bilateral_compat=4
    )
    result = densecrf.crf_inference(golden["image"], golden["deeplab_prob"], config)
    np.testing.assert_allclose(result, golden["deeplab_crf"], atol=1e-3)


@needs_crf
@pytest.mark.parametrize("alpha", [4, 32])
def test_scores_as_in_psa(golden, alpha):
    config = CRFConfig(
        gaussian_sxy=3, gaussian_compat=3, bilateral_sxy=80, bilateral_srgb=13, bilateral_compat=10
    )
    result = densecrf.crf_inference(golden["image"], golden[f"psa_score_alpha{alpha}"], config)
    np.testing.assert_allclose(result, golden[f"psa_crf_alpha{alpha}"], atol=1e-3)


@needs_crf
def test_hard_labels_as_in_irn(golden):
    result = densecrf.crf_hard_labels(golden["image"], golden["hard_label_thr03"], 3, IRN_LABELS)
    assert np.mean(result == golden["crf_label_thr03"]) > 0.995


@needs_crf
@pytest.mark.parametrize(("foreground", "background"), [(0.3, 0.1), (0.3, 0.05), (0.35, 0.1)])
def test_two_hard_label_runs_combine_to_irn_confident_labels(golden, foreground, background):
    keys = np.concatenate([[0], golden["keys_minus1"] + 1])

    def run(level):
        scores = np.concatenate([np.full((1, *golden["high_res"].shape[1:]), level), golden["high_res"]])
        return keys[densecrf.crf_hard_labels(golden["image"], scores.argmax(0), 3, IRN_LABELS)]

    sure, unsure = run(foreground), run(background)
    combined = np.where(sure > 0, sure, np.where(unsure == 0, 0, 255))
    assert np.mean(combined == golden[f"conf_fg{foreground}_bg{background}"]) > 0.995


@needs_crf
def test_memory_layout_does_not_matter(golden):
    image, probabilities = golden["image"], golden["deeplab_prob"]
    expected = densecrf.crf_inference(image, probabilities, CRFConfig())
    strange = densecrf.crf_inference(np.asfortranarray(image), np.asfortranarray(probabilities), CRFConfig())
    np.testing.assert_array_equal(strange, expected)


@needs_crf
def test_one_label_needs_no_inference():
    image, _ = scene()
    assert (densecrf.crf_inference(image, np.ones((1, 40, 48), np.float32), CRFConfig()) == 1).all()
    assert (densecrf.crf_hard_labels(image, np.zeros((40, 48), int), 1, CRFConfig()) == 0).all()


@needs_crf
def test_the_refiner_is_the_threshold_without_iterations_and_follows_edges_with_them():
    image, maps = scene()
    plain = DenseCRFRefiner(0.3, CRFConfig(iterations=0))(image, maps)
    np.testing.assert_array_equal(plain, threshold_mask(maps, 0.3))
    mask = DenseCRFRefiner(0.3, CRFConfig(3, 3, 20, 10, 10, 10))(image, maps)
    truth = np.zeros((40, 48), np.uint8)
    truth[10:30, 12:36] = 4
    assert mask.dtype == np.uint8
    assert np.mean(mask == truth) > 0.99 > np.mean(plain == truth)


@needs_crf
def test_the_refiner_leaves_an_image_without_classes_to_the_background():
    maps = ScoreMaps("a", np.zeros(0, np.uint8), np.zeros((0, 1, 1), np.float16), (3, 4))
    assert not DenseCRFRefiner(0.3)(np.zeros((3, 4, 3), np.uint8), maps).any()


@needs_crf
def test_the_image_must_be_the_raw_one_of_the_same_size():
    probabilities = np.full((2, 4, 5), 0.5, np.float32)
    for image in (np.zeros((4, 5, 3), np.float32), np.zeros((5, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="raw image"):
            densecrf.crf_inference(image, probabilities, CRFConfig())
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        densecrf.crf_hard_labels(np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 2), 2, CRFConfig())


def test_settings_are_checked():
    with pytest.raises(ValueError, match="positive"):
        CRFConfig(bilateral_srgb=0)


def test_without_the_extension_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setattr(densecrf, "find_spec", lambda name: None)
    assert not densecrf.available()
    for attempt in (lambda: DenseCRFRefiner(0.3), lambda: CRFPool(CRFConfig())):
        with pytest.raises(ValueError, match="`make crf`"):
            attempt()


@needs_crf
@pytest.mark.parametrize("workers", [0, 1])
def test_the_pool_writes_masks_with_the_values_of_the_labels(tmp_path, workers):
    image, maps = scene()
    probabilities = np.concatenate([np.full((1, 40, 48), 0.3), maps.scores]).astype(np.float32)
    probabilities /= probabilities.sum(0)
    labels = np.array([0, 4, 2], np.uint8)
    expected = labels[densecrf.crf_inference(image, probabilities, CRFConfig()).argmax(0)]
    with CRFPool(CRFConfig(), workers) as pool:
        for index in range(4):
            pool.submit(f"i{index}", image, probabilities, labels, tmp_path / "ss-crf" / f"i{index}.png")
    for index in range(4):
        np.testing.assert_array_equal(read_mask(tmp_path / "ss-crf" / f"i{index}.png"), expected)


@needs_crf
@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_names_the_image(tmp_path, workers):
    image, _ = scene()
    probabilities = np.full((2, 3, 3), 0.5, np.float32)
    with pytest.raises(ValueError, match="image 'broken': ValueError: the CRF takes the raw image"):  # noqa: SIM117
        with CRFPool(CRFConfig(), workers) as pool:
            pool.submit("broken", image, probabilities, np.array([0, 1]), tmp_path / "broken.png")
    assert not list(tmp_path.iterdir())
    with CRFPool(CRFConfig()) as pool, pytest.raises(ValueError, match="2 probability maps for 3 labels"):
        pool.submit("broken", image, probabilities, np.arange(3), tmp_path / "broken.png")
