"""Properties of the counts on random small masks and score maps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsss_bench.metrics.functional import confusion
from wsss_bench.metrics.miou import MeanIoU
from wsss_bench.metrics.sweep import ThresholdSweep

THRESHOLDS = (0.0, 0.125, 0.3, 0.5, 0.7, 1.0)
SCORES = (0.0, 0.0625, 0.125, 0.25, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0)
"""Few values, so that scores often equal each other, or a threshold."""

checked = settings(max_examples=50, deadline=None)
sizes = st.tuples(st.integers(1, 5), st.integers(1, 6))


def masks(size, num_classes, ignored=False):
    """`(H, W)` uint8 masks, with pixels to ignore where `ignored` is set."""
    values = st.integers(0, num_classes - 1)
    return arrays(np.uint8, size, elements=values | st.just(255) if ignored else values)


@st.composite
def pairs(draw, size=None, num_classes=None):
    """A prediction, its ground truth and K."""
    size = size or draw(sizes)
    num_classes = num_classes or draw(st.integers(2, 6))
    return draw(masks(size, num_classes)), draw(masks(size, num_classes, ignored=True)), num_classes


@st.composite
def splits(draw):
    """Some images with their ground truth, and K."""
    num_classes = draw(st.integers(2, 6))
    return draw(st.lists(pairs(num_classes=num_classes), min_size=1, max_size=5)), num_classes


@st.composite
def seeds(draw, num_classes):
    """Scores `(K', H, W)` float16 or float32, their classes, and the ground truth."""
    size = draw(sizes)
    classes = draw(st.lists(st.integers(1, num_classes - 1), unique=True, max_size=num_classes - 1))
    dtype = draw(st.sampled_from([np.float16, np.float32]))
    scores = draw(arrays(np.float32, (len(classes), *size), elements=st.sampled_from(SCORES).map(np.float32)))
    return scores.astype(dtype), np.array(classes, np.uint8), draw(masks(size, num_classes, ignored=True))


def count(prediction, target, num_classes):
    """Pixel by pixel, rows are the truth."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for truth, predicted in zip(target.ravel(), prediction.ravel(), strict=True):
        if truth != 255:
            matrix[truth, predicted] += 1
    return matrix


def mask_at(threshold, scores, classes):
    """Foreground where the best score is strictly above the threshold; the first of equal classes wins."""
    prediction = np.zeros(scores.shape[1:], np.uint8)
    for index in np.ndindex(*prediction.shape):
        best = np.float32(threshold)
        for value, map_ in zip(classes, scores.astype(np.float32), strict=True):
            if map_[index] > best:
                best, prediction[index] = map_[index], value
    return prediction


@checked
@given(st.data())
def test_the_sweep_counts_what_a_mask_at_each_threshold_counts(data):
    num_classes = data.draw(st.integers(2, 5))
    images = data.draw(st.lists(seeds(num_classes), min_size=1, max_size=3))
    sweep = ThresholdSweep(THRESHOLDS, num_classes)
    total = np.zeros((len(THRESHOLDS), num_classes, num_classes), np.int64)
    for scores, classes, target in images:
        counts = sweep.update(scores, classes, target)
        expected = [count(mask_at(t, scores, classes), target, num_classes) for t in THRESHOLDS]
        found = [sweep.confusion_at(index, counts) for index in range(len(THRESHOLDS))]
        np.testing.assert_array_equal(found, expected)
        total += expected
    np.testing.assert_array_equal(sweep.confusions(), total)


@checked
@given(pairs())
def test_confusion_is_a_bincount_of_the_counted_pixels(pair):
    prediction, target, num_classes = pair
    matrix = confusion(prediction, target, num_classes)
    counted = target != 255
    codes = target[counted].astype(np.int64) * num_classes + prediction[counted]
    expected = np.bincount(codes, minlength=num_classes**2).reshape(num_classes, num_classes)
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.sum() == counted.sum()
    for k in range(num_classes):
        assert matrix[k].sum() == (target == k).sum()
        assert matrix[:, k].sum() == (prediction[counted] == k).sum()


@checked
@given(pairs(), st.randoms(use_true_random=False))
def test_confusion_does_not_depend_on_where_the_pixels_are(pair, random):
    prediction, target, num_classes = pair
    order = list(range(target.size))
    random.shuffle(order)
    moved = [mask.ravel()[order].reshape(mask.shape) for mask in (prediction, target)]
    np.testing.assert_array_equal(confusion(*moved, num_classes), confusion(prediction, target, num_classes))


@checked
@given(splits(), st.data())
def test_mean_iou_over_parts_of_the_images_is_that_of_all(split, data):
    images, num_classes = split
    cut = data.draw(st.integers(0, len(images)))
    whole, parts = MeanIoU(num_classes), [MeanIoU(num_classes), MeanIoU(num_classes)]
    for index, (prediction, target, _) in enumerate(images):
        matrix = confusion(prediction, target, num_classes)
        whole.update_confusion(matrix)
        parts[index >= cut].update_confusion(matrix)
    merged = MeanIoU(num_classes)
    for part in parts:
        merged.update_confusion(part.confusion)
    np.testing.assert_array_equal(merged.compute()["confusion"], whole.compute()["confusion"])
    np.testing.assert_array_equal(merged.compute()["iou"], whole.compute()["iou"])
    np.testing.assert_array_equal(merged.compute()["miou"], whole.compute()["miou"])
