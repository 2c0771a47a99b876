"""Masks with CRF from probabilities on disk: those of float32, with common kernels, and in a process pool."""

import numpy as np
import pytest
import torch

from wsss_bench.artifacts.files import read_mask
from wsss_bench.artifacts.probabilities import LabelMaps, ProbabilityShards
from wsss_bench.callbacks import predicted_mask
from wsss_bench.crf import readouts
from wsss_bench.crf.densecrf import CRFConfig, ImageCRF, available, crf_inference
from wsss_bench.crf.pool import ImagePool
from wsss_bench.crf.readouts import MadeMasks, ReadoutCRF, write_masks_with_crf

needs_crf = pytest.mark.skipif(not available(), reason="pydensecrf is not installed (make crf)")
SHARP = CRFConfig(bilateral_sxy=13)


def scene(height, width, classes, seed=0):
    """An image of noisy discs `(H, W, 3)` uint8, and smooth probabilities `(K, H, W)` float32."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    truth, logits = np.zeros((height, width), int), np.zeros((classes, height, width))
    for label in range(1, 3):
        place = generator.uniform(0.25, 0.75, 2) * (height, width)
        distance = np.hypot(rows - place[0], columns - place[1]) / (0.25 * min(height, width))
        truth[distance < 1] = label
        logits[label] = 4 - 4 * distance + generator.normal(0, 0.02, truth.shape)
    logits[3:] -= np.linspace(2, 14, classes - 3)[:, None, None]
    colours = generator.integers(0, 256, (3, 3))
    image = np.clip(colours[truth] + generator.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
    return image, torch.from_numpy(logits).softmax(dim=0).float()


def write(folder, **predicted):
    with ProbabilityShards(folder) as shards:
        shards.write("image", {name: one.for_crf for name, one in predicted.items()})


@needs_crf
@pytest.mark.parametrize("kept", ["present", "all"])
@pytest.mark.parametrize("size", [(40, 57), (375, 500)])
def test_masks_are_those_of_the_probabilities_before_they_were_stored(tmp_path, size, kept):
    image, probabilities = scene(*size, classes=7)
    predicted = predicted_mask("image", probabilities, kept)
    labels = np.unique(predicted.mask) if kept == "present" else np.arange(7)
    assert predicted.for_crf.labels.tolist() == labels.tolist()
    write(tmp_path / "probabilities", ss=predicted)
    made = MadeMasks(tmp_path / "probabilities", tmp_path, [("ss", "ss-crf", ReadoutCRF(SHARP))])
    write_masks_with_crf(image, "image", [made])
    found = read_mask(tmp_path / "ss-crf" / "image.png")
    expected = labels[crf_inference(image, probabilities.numpy()[labels], SHARP).argmax(axis=0)]
    assert np.mean(found != predicted.mask) > 1e-3  # the CRF did something
    assert np.sum(found != expected) <= 2e-5 * found.size + 1


def test_stored_unaries_are_off_by_half_a_step_and_zero_is_the_floor():
    probabilities = torch.tensor([1.0, 0.9, 0.3, 1e-3, 2e-5, 1e-5, 1e-9, 0.0]).view(-1, 1, 1)
    found = predicted_mask("image", probabilities, "all").for_crf.probabilities()[:, 0, 0]
    floored = np.maximum(probabilities[:, 0, 0].numpy(), np.float32(1e-5))
    np.testing.assert_allclose(-np.log(found), -np.log(floored), atol=0.51 / 1024)
    assert (found[0], *found[5:]) == (1, *[np.float32(1e-5)] * 3)


def test_nothing_is_kept_where_no_crf_is_wanted():
    assert predicted_mask("image", torch.rand(3, 4, 5), "none").for_crf is None
    with pytest.raises(ValueError, match="image 'image' are not finite"):
        predicted_mask("image", torch.full((3, 4, 5), float("nan")), "all")


@needs_crf
def test_kernels_are_made_once_for_all_read_outs_with_the_same_crf(tmp_path, monkeypatch):
    image, probabilities = scene(40, 57, classes=4)
    predicted = predicted_mask("image", probabilities, "present")
    shifted, usual = ReadoutCRF(SHARP, (122.0, 116.0, 104.0)), ReadoutCRF(SHARP)
    for name in ("one", "two"):
        write(tmp_path / name, ss=predicted, ms=predicted, own=predicted)
    made = [
        MadeMasks(tmp_path / name, tmp_path / f"{name}-masks",
                  [("ss", "ss-crf", usual), ("ms", "ms-crf", usual), ("own", "own-x", shifted)])
        for name in ("one", "two")
    ]  # fmt: skip
    count = []
    monkeypatch.setattr(readouts, "ImageCRF", lambda *given: count.append(given) or ImageCRF(*given))
    write_masks_with_crf(image, "image", made)
    assert len(count) == 2
    masks = {path.parent.name: read_mask(path) for path in (tmp_path / "one-masks").rglob("*.png")}
    assert masks.keys() == {"ss-crf", "ms-crf", "own-x"}
    np.testing.assert_array_equal(masks["ss-crf"], masks["ms-crf"])
    assert (masks["ss-crf"] != masks["own-x"]).any()


def test_the_crf_of_deeplab_pytorch_sees_wrapped_colours():
    image = np.array([[[0, 117, 255], [123, 116, 104]]], np.uint8)
    # 0 - 122.675 is -122 without its fraction, and 134 modulo 256
    shifted = ReadoutCRF(CRFConfig(), (122.675, 116.669, 104.008)).image(image)
    assert shifted.tolist() == [[[134, 0, 150], [0, 0, 0]]]
    assert ReadoutCRF(CRFConfig()).image(image) is image


def test_a_floor_below_what_is_stored_is_refused():
    with pytest.raises(ValueError, match=r"crf\.floor is 1e-06, but"):
        ReadoutCRF(CRFConfig(floor=1e-6))
    assert ReadoutCRF(CRFConfig(floor=1e-4)).crf.floor == 1e-4


@needs_crf
@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_names_the_image(tmp_path, workers):
    levels = LabelMaps(np.array([0, 1], np.uint8), np.zeros((2, 3, 3), np.uint16))
    with ProbabilityShards(tmp_path / "probabilities") as shards:
        shards.write("small", {"ss": levels})
    made = MadeMasks(tmp_path / "probabilities", tmp_path / "masks", [("ss", "ss-crf", ReadoutCRF(SHARP))])
    message = r"image 'small': ValueError: the CRF takes the raw image at the size of the scores \(3, 3\)"
    with pytest.raises(ValueError, match=message), ImagePool(workers) as pool:
        pool.run("small", write_masks_with_crf, np.zeros((40, 48, 3), np.uint8), "small", [made])
    assert not (tmp_path / "masks").exists()
