"""CRF inference against the outputs of the authors' code, and without the extension."""

import sys

import numpy as np
import paths
import pytest
from PIL import Image

from wsss_bench.crf import densecrf
from wsss_bench.crf.densecrf import IRN_CRF, CRFConfig, ImageCRF

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
    result = ImageCRF(golden["image"], IRN_CRF).from_class_map(golden["hard_label_thr03"], 3)
    assert np.mean(result == golden["crf_label_thr03"]) > 0.995


@needs_crf
@pytest.mark.parametrize(("foreground", "background"), [(0.3, 0.1), (0.3, 0.05), (0.35, 0.1)])
def test_two_class_maps_combine_to_the_confident_labels_of_irn(golden, foreground, background):
    mask_values = np.concatenate([[0], golden["keys_minus1"] + 1])

    crf = ImageCRF(golden["image"], IRN_CRF)

    def run(level):
        scores = np.concatenate([np.full((1, *golden["high_res"].shape[1:]), level), golden["high_res"]])
        return mask_values[crf.from_class_map(scores.argmax(0), 3)]

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
def test_scores_of_one_image_share_its_kernels_without_an_effect_on_each_other(monkeypatch):
    image, rng = noisy_square(), np.random.default_rng(3)
    scores = [rng.random((classes, 40, 48)).astype(np.float32) for classes in (3, 2, 3)]
    expected = [densecrf.crf_inference(image, score, CRFConfig()) for score in scores]
    made, with_kernels = [], ImageCRF._with_kernels
    monkeypatch.setattr(ImageCRF, "_with_kernels", lambda crf, k: made.append(k) or with_kernels(crf, k))
    crf = ImageCRF(image, CRFConfig())
    for score, single in zip(scores, expected, strict=True):
        np.testing.assert_array_equal(crf.from_probabilities(score), single)
    assert made == [3, 2]


@needs_crf
@pytest.mark.parametrize("kind", ["read-only", "memory map", "view", "big endian", "PIL"])
def test_arrays_of_any_kind_are_taken(golden, tmp_path, kind):
    image, probabilities = golden["image"], golden["deeplab_prob"]
    expected = densecrf.crf_inference(image, probabilities, CRFConfig())
    if kind == "memory map":
        for name, array in (("image", image), ("probabilities", probabilities)):
            np.save(tmp_path / name, array)
        image, probabilities = (
            np.load(tmp_path / f"{n}.npy", mmap_mode="r") for n in ("image", "probabilities")
        )
    elif kind == "view":
        image, probabilities = image[::-1][::-1], np.repeat(probabilities, 2, axis=2)[..., ::2]
    elif kind == "big endian":
        probabilities = probabilities.astype(">f4")
    elif kind == "PIL":
        image = np.asarray(Image.fromarray(image))
    else:
        image.flags.writeable = probabilities.flags.writeable = False
    np.testing.assert_array_equal(densecrf.crf_inference(image, probabilities, CRFConfig()), expected)
    class_map = probabilities.argmax(0)
    class_map.flags.writeable = False
    ImageCRF(image, CRFConfig()).from_class_map(class_map, len(probabilities))


@needs_crf
def test_a_single_class_needs_no_inference():
    image = noisy_square()
    assert (densecrf.crf_inference(image, np.ones((1, 40, 48), np.float32), CRFConfig()) == 1).all()
    assert (ImageCRF(image, CRFConfig()).from_class_map(np.zeros((40, 48), int), 1) == 0).all()


@needs_crf
def test_the_image_must_be_the_raw_one_of_the_same_size():
    probabilities = np.full((2, 4, 5), 0.5, np.float32)
    for image in (np.zeros((4, 5, 3), np.float32), np.zeros((5, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="raw image"):
            densecrf.crf_inference(image, probabilities, CRFConfig())
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        ImageCRF(np.zeros((4, 5, 3), np.uint8), CRFConfig()).from_class_map(np.full((4, 5), 2), 2)


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"crf.bilateral_srgb is 0; expected"):
        CRFConfig(bilateral_srgb=0)


def test_without_the_extension_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setattr(densecrf, "find_spec", lambda name: None)
    assert not densecrf.available()
    with pytest.raises(ValueError, match="`make crf`"):
        ImageCRF(noisy_square(), CRFConfig())
