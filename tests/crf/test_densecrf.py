"""CRF inference against the outputs of the authors' code, without the extension, and in a process pool."""

import sys

import numpy as np
import paths
import pytest

from wsss_bench.artifacts.files import read_mask
from wsss_bench.crf import densecrf
from wsss_bench.crf.densecrf import IRN_CRF, CRFConfig, CRFPool

GOLDEN = paths.GOLDEN / "clims"
needs_crf = pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "dense_crf.npz")


def noisy_square(height=40, width=48):
    """An image of a bright square on a dark ground, `(H, W, 3)` uint8."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[10:30, 12:36] = 200
    image += np.random.default_rng(0).integers(0, 8, image.shape, dtype=np.uint8)
    return image


@needs_crf
def test_probabilities_are_those_of_deeplab(golden):
    config = CRFConfig(
        gaussian_sxy=1, gaussian_compat=3, bilateral_sxy=67, bilateral_srgb=3, bilateral_compat=4
    )
    result = densecrf.crf_inference(golden["image"], golden["deeplab_prob"], config)
    np.testing.assert_allclose(result, golden["deeplab_crf"], atol=1e-3)


@needs_crf
@pytest.mark.parametrize("alpha", [4, 32])
def test_scores_are_those_of_psa(golden, alpha):
    config = CRFConfig(
        gaussian_sxy=3, gaussian_compat=3, bilateral_sxy=80, bilateral_srgb=13, bilateral_compat=10
    )
    result = densecrf.crf_inference(golden["image"], golden[f"psa_score_alpha{alpha}"], config)
    np.testing.assert_allclose(result, golden[f"psa_crf_alpha{alpha}"], atol=1e-3)


@needs_crf
def test_a_class_map_gives_the_labels_of_irn(golden):
    result = densecrf.crf_from_class_map(golden["image"], golden["hard_label_thr03"], 3, IRN_CRF)
    assert np.mean(result == golden["crf_label_thr03"]) > 0.995


@needs_crf
@pytest.mark.parametrize(("foreground", "background"), [(0.3, 0.1), (0.3, 0.05), (0.35, 0.1)])
def test_two_class_maps_combine_to_the_confident_labels_of_irn(golden, foreground, background):
    mask_values = np.concatenate([[0], golden["keys_minus1"] + 1])

    def run(level):
        scores = np.concatenate([np.full((1, *golden["high_res"].shape[1:]), level), golden["high_res"]])
        return mask_values[densecrf.crf_from_class_map(golden["image"], scores.argmax(0), 3, IRN_CRF)]

    with_high_background, with_low_background = run(foreground), run(background)
    combined = np.where(
        with_high_background > 0, with_high_background, np.where(with_low_background == 0, 0, 255)
    )
    assert np.mean(combined == golden[f"conf_fg{foreground}_bg{background}"]) > 0.995


@needs_crf
def test_memory_layout_does_not_matter(golden):
    image, probabilities = golden["image"], golden["deeplab_prob"]
    expected = densecrf.crf_inference(image, probabilities, CRFConfig())
    fortran = densecrf.crf_inference(np.asfortranarray(image), np.asfortranarray(probabilities), CRFConfig())
    np.testing.assert_array_equal(fortran, expected)


@needs_crf
def test_a_single_class_needs_no_inference():
    image = noisy_square()
    assert (densecrf.crf_inference(image, np.ones((1, 40, 48), np.float32), CRFConfig()) == 1).all()
    assert (densecrf.crf_from_class_map(image, np.zeros((40, 48), int), 1, CRFConfig()) == 0).all()


@needs_crf
def test_the_image_must_be_the_raw_one_of_the_same_size():
    probabilities = np.full((2, 4, 5), 0.5, np.float32)
    for image in (np.zeros((4, 5, 3), np.float32), np.zeros((5, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="raw image"):
            densecrf.crf_inference(image, probabilities, CRFConfig())
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        densecrf.crf_from_class_map(np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 2), 2, CRFConfig())


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"crf.bilateral_srgb is 0; expected"):
        CRFConfig(bilateral_srgb=0)


def test_without_the_extension_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setattr(densecrf, "find_spec", lambda name: None)
    assert not densecrf.available()
    with pytest.raises(ValueError, match="`make crf`"):
        CRFPool(CRFConfig())


@needs_crf
@pytest.mark.parametrize("workers", [0, 1])
def test_the_pool_writes_masks_with_the_given_mask_values(tmp_path, workers):
    image = noisy_square()
    probabilities = np.full((3, 40, 48), 0.3, np.float32)
    probabilities[1:] = 0
    probabilities[1, 6:34, 8:40] = 0.25
    probabilities[1, 12:26, 14:32] = 0.9
    probabilities[2, 2:5, 2:5] = 0.35
    probabilities /= probabilities.sum(0)
    mask_values = np.array([0, 4, 2], np.uint8)
    expected = mask_values[densecrf.crf_inference(image, probabilities, CRFConfig()).argmax(0)]
    with CRFPool(CRFConfig(), workers) as pool:
        for index in range(4):
            pool.submit(f"i{index}", image, probabilities, mask_values, tmp_path / "ss-crf" / f"i{index}.png")
    for index in range(4):
        np.testing.assert_array_equal(read_mask(tmp_path / "ss-crf" / f"i{index}.png"), expected)


@needs_crf
@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_names_the_image(tmp_path, workers):
    image = noisy_square()
    probabilities = np.full((2, 3, 3), 0.5, np.float32)
    message = "image 'broken': ValueError: the CRF takes the raw image"
    with pytest.raises(ValueError, match=message):  # noqa: SIM117
        with CRFPool(CRFConfig(), workers) as pool:
            pool.submit("broken", image, probabilities, np.array([0, 1]), tmp_path / "broken.png")
    assert not list(tmp_path.iterdir())
    message = "2 probability maps for 3 mask values"
    with CRFPool(CRFConfig()) as pool, pytest.raises(ValueError, match=message):
        pool.submit("broken", image, probabilities, np.arange(3), tmp_path / "broken.png")
