"""Confusion matrices, IoU and background rates, against values computed by hand and other code."""

import numpy as np
import paths
import pytest

from wsss_bench.data.sources.openvocab import label_map
from wsss_bench.metrics import functional
from wsss_bench.metrics.functional import confusion, iou, mean_iou

GOLDEN = paths.GOLDEN


def mask(rows):
    return np.array(rows, np.uint8)


def test_pixels_are_counted_by_truth_and_prediction():
    matrix = confusion(mask([[0, 1, 1, 2]]), mask([[0, 1, 2, 255]]), 3)
    assert matrix.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert matrix.dtype == np.int64
    assert iou(matrix).tolist() == [1.0, 0.5, 0.0]
    assert mean_iou(matrix) == pytest.approx(0.5)


def test_a_predicted_absent_class_counts_zero_and_an_unseen_one_not_at_all():
    matrix = confusion(mask([[0, 2, 1, 1]]), mask([[0, 0, 1, 1]]), 4)
    np.testing.assert_array_equal(iou(matrix), [0.5, 1.0, 0.0, np.nan])
    assert mean_iou(matrix) == pytest.approx(0.5)
    assert np.isnan(mean_iou(np.zeros((3, 3), np.int64)))


def test_background_rates():
    matrix = np.array([[6, 1, 1], [3, 5, 1], [0, 0, 1]])
    assert functional.false_positive_background(matrix) == pytest.approx(2 / 8)
    assert functional.false_negative_background(matrix) == pytest.approx(3 / 10)
    assert np.isnan(functional.false_negative_background(np.array([[3, 0], [0, 0]])))


@pytest.mark.parametrize("num_classes", [2, 21, 81, 255])
def test_it_equals_a_plain_bincount_on_any_memory_layout(num_classes):
    random = np.random.default_rng(0)
    prediction = random.integers(0, num_classes, (75, 41), dtype=np.uint8)
    target = random.integers(0, num_classes, (75, 41), dtype=np.uint8)
    target[random.random(target.shape) < 0.2] = 255
    counted = target != 255
    code = target[counted].astype(int) * num_classes + prediction[counted]
    expected = np.bincount(code, minlength=num_classes**2).reshape(num_classes, num_classes)
    np.testing.assert_array_equal(confusion(prediction, target, num_classes), expected)
    np.testing.assert_array_equal(confusion(prediction.T, target.T, num_classes), expected)


def test_counts_beyond_what_float32_holds_are_exact():
    target = np.zeros((4099, 4097), np.uint8)  # 2^24 + 16388 pixels of one kind
    target[-1, -1] = 1
    assert confusion(np.zeros_like(target), target, 2).tolist() == [[4099 * 4097 - 1, 0], [1, 0]]


def test_the_metric_of_the_reference_differs_only_in_a_class_without_truth():
    golden = np.load(GOLDEN / "single_stage" / "miou_scores.npz")
    matrix = sum(
        confusion(prediction.astype(np.uint8), target.astype(np.uint8), int(golden["num_classes"]))
        for prediction, target in zip(golden["pred"], golden["gt"], strict=True)
    )
    np.testing.assert_allclose(iou(matrix), golden["iou"], rtol=1e-12, equal_nan=True)
    with_truth = matrix.sum(1) > 0
    assert iou(matrix)[with_truth].mean() == pytest.approx(float(golden["miou"]))
    assert mean_iou(matrix) == pytest.approx(np.nanmean(golden["iou"]))


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ([[0, 255]], [[0, 1]], r"'dog' holds the values \[255\].*write 0 for background"),
        ([[0, 7]], [[0, 1]], r"holds the values \[7\]"),
        ([[0, 0]], [[0, 9]], r"ground truth of image 'dog' holds the values \[9\]"),
        ([[0, 0, 0]], [[0, 1]], "1x3 .height x width.*1x2"),
        ([[[0, 0, 0]]], [[0]], "1x1x3"),
    ],
)
def test_values_that_are_no_class_are_named(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        confusion(mask(prediction), mask(target), 3, "dog")


def test_any_value_may_be_predicted_where_the_truth_is_ignored():
    assert confusion(mask([[255, 9, 1]]), mask([[255, 255, 1]]), 2).tolist() == [[0, 0], [0, 1]]


def test_masks_are_uint8():
    with pytest.raises(TypeError, match="int64"):
        confusion(np.zeros((1, 1), np.int64), np.zeros((1, 1), np.uint8), 2)


@pytest.mark.parametrize("reduced", [False, True])
def test_counts_are_those_of_mmsegmentation(reduced):
    """`reduced`: value 0 is ignored and the others are the classes, as ADE20K and Context 59 are read."""
    golden = np.load(GOLDEN / "code" / "metric.npz")
    label, prediction = golden["label"], golden["pred"].astype(np.uint8)
    classes = range(5)
    if reduced:  # mmsegmentation's class k is our mask value k + 1
        values = label_map(range(1, 6), ignored=[0, 255]).astype(np.uint8)
        label, prediction = values[label], prediction + np.uint8(1)
        classes = range(1, 6)
    matrix = confusion(prediction, label, 6)
    hits, truth, predicted = np.diagonal(matrix), matrix.sum(1), matrix.sum(0)
    counted = {"inter": hits, "union": truth + predicted - hits, "pred": predicted, "gt": truth}
    for name, counts in counted.items():
        np.testing.assert_array_equal(counts[classes], golden[f"{'reduce' if reduced else 'plain'}_{name}"])


def test_a_label_beyond_the_classes_is_refused_where_mmsegmentation_drops_it():
    golden = np.load(GOLDEN / "code" / "metric.npz")
    with pytest.raises(ValueError, match=r"holds the values \[5\]; expected 0\.\.4 and 255"):
        confusion(golden["pred"].astype(np.uint8), golden["label"], 5)
