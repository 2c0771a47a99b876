"""All thresholds from one pass: the same counts as a loop over thresholds and as the reference code."""

import numpy as np
import paths
import pytest

from wsss_bench.metrics.functional import iou, mean_iou
from wsss_bench.metrics.sweep import ThresholdSweep

GOLDEN = paths.GOLDEN / "clims"


def naive(thresholds, scores, classes, target, num_classes):
    """IRN's way: for each threshold a constant map in front, argmax, confusion."""
    values = np.concatenate([[0], classes]).astype(np.int64)
    counted = target != 255
    matrices = []
    for threshold in np.asarray(thresholds, np.float32):
        background = np.full((1, *target.shape), threshold, np.float32)
        best = np.concatenate([background, scores.astype(np.float32)]).argmax(axis=0)
        code = target[counted].astype(np.int64) * num_classes + values[best][counted]
        matrices.append(np.bincount(code, minlength=num_classes**2).reshape(num_classes, num_classes))
    return np.stack(matrices)


def test_the_reference_evaluation_is_matched_exactly():
    golden = np.load(GOLDEN / "eval_cam.npz")
    sweep = ThresholdSweep(golden["thresholds"], 21)
    for i in range(4):
        sweep.update(golden[f"cam{i}"], golden[f"keys{i}"] + 1, golden[f"gt{i}"].astype(np.uint8), str(i))
    np.testing.assert_array_equal(sweep.confusions(), golden["confusion"])
    np.testing.assert_allclose(iou(sweep.confusions()), golden["iou"], rtol=1e-12)
    np.testing.assert_allclose(mean_iou(sweep.confusions()), golden["miou"], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("num_classes", "present"), [(21, 3), (81, 7), (9, 1), (2, 1)])
def test_one_pass_equals_the_loop(dtype, num_classes, present):
    random = np.random.default_rng(num_classes)
    thresholds = np.unique(np.concatenate([np.arange(1, 100) / 100, random.random(20)]))
    sweep, expected = ThresholdSweep(thresholds, num_classes), 0
    for size in ((37, 50), (1, 7), (64, 33)):
        classes = random.permutation(np.arange(1, num_classes))[:present].astype(np.uint8)
        scores = random.random((present, *size)).astype(dtype)
        scores[:, ::3] = scores[0, ::3]  # ties between classes
        scores[0, :, 1::4] = np.float32(0.3)  # ties with a threshold (in float32)
        scores[0, :, 2::4] = -0.0
        target = random.integers(0, num_classes, size, dtype=np.uint8)
        target[random.random(size) < 0.1] = 255
        counts = sweep.update(scores, classes, target)
        loop = naive(thresholds, scores, classes, target, num_classes)
        expected = expected + loop
        for index in (0, 40, len(thresholds) - 1):
            np.testing.assert_array_equal(sweep.confusion_at(index, counts), loop[index])
    np.testing.assert_array_equal(sweep.confusions(), expected)


def test_a_threshold_that_is_met_is_background_and_the_first_of_equal_classes_wins():
    sweep = ThresholdSweep([0.25, 0.5], 4)
    scores = np.array([[[0.5, 0.25, 0.75]], [[0.5, 0.5, 0.75]]], np.float16)
    sweep.update(scores, np.array([3, 1]), np.array([[3, 1, 3]], np.uint8))
    low, high = sweep.confusions()
    assert (low[3, 3], low[1, 1], low[3, 1]) == (2, 1, 0)  # column 0 and 2 tie: class 3 comes first
    assert (high[3, 3], high[3, 0], high[1, 0]) == (1, 1, 1)  # 0.5 is not above 0.5


def test_an_image_without_seed_classes_is_background():
    sweep = ThresholdSweep([0.1, 0.9], 3)
    sweep.update(np.zeros((0, 2, 2), np.float32), np.zeros(0), np.array([[0, 1], [255, 2]], np.uint8))
    np.testing.assert_array_equal(sweep.confusions(), [[[1, 0, 0], [1, 0, 0], [1, 0, 0]]] * 2)


@pytest.mark.parametrize(
    ("scores", "classes", "target", "message"),
    [
        (np.full((1, 2, 2), np.nan, np.float32), [1], np.zeros((2, 2), np.uint8), "not finite"),
        (np.full((1, 2, 2), np.inf, np.float16), [1], np.zeros((2, 2), np.uint8), "not finite"),
        (np.full((1, 2, 2), -1, np.float16), [1], np.zeros((2, 2), np.uint8), "negative"),
        (np.zeros((1, 2, 2), np.float16), [3], np.zeros((2, 2), np.uint8), "another class list"),
        (np.zeros((1, 2, 3), np.float16), [1], np.zeros((2, 2), np.uint8), "same images"),
        (np.zeros((2, 2, 2), np.float16), [1], np.zeros((2, 2), np.uint8), "2 score maps for 1 classes"),
        (np.zeros((1, 2, 2), np.float16), [1], np.full((2, 2), 7, np.uint8), "ground truth of image 'dog'"),
    ],
)
def test_bad_input_is_named(scores, classes, target, message):
    with pytest.raises(ValueError, match=message):
        ThresholdSweep([0.5], 3).update(scores, np.array(classes), target, "dog")


@pytest.mark.parametrize(
    "thresholds", [[], [0.5, 0.5], [0.6, 0.5], [-0.1, 0.5], [0.5, 1.5], np.arange(256) / 300]
)
def test_thresholds_are_increasing_and_in_range(thresholds):
    with pytest.raises(ValueError, match="thresholds"):
        ThresholdSweep(thresholds, 3)
