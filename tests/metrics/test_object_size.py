"""IoU by the size of objects, against values computed by hand."""

import numpy as np
import pytest

from wsss_bench.metrics.object_size import iou_by_size
from wsss_bench.metrics.per_image import ConfusionWriter, read_per_image


def confusions(tmp_path, matrices):
    with ConfusionWriter(1) as writer:
        for index, matrix in enumerate(matrices):
            writer.add(0, index, np.array(matrix))
        writer.save(tmp_path / "confusions.npz", [str(index) for index in range(len(matrices))])
    return read_per_image(tmp_path / "confusions.npz", 0, len(matrices[0]))


def test_each_object_counts_at_its_size(tmp_path):
    found = confusions(
        tmp_path,
        [
            [[94, 2, 0], [1, 3, 0], [0, 0, 0]],  # class 1: 4 of 100 pixels, small, IoU 3 / 6
            [[80, 0, 0], [0, 15, 0], [5, 0, 0]],  # class 1: 15, medium, 1; class 2: 5, small, 0
            [[20, 10, 0], [10, 60, 0], [0, 0, 0]],  # class 1: 70, large, 60 / 80
        ],
    )
    assert iou_by_size(found) == pytest.approx({"small": 0.25, "medium": 1.0, "large": 0.75})


def test_one_class_is_pooled_over_its_images(tmp_path):
    found = confusions(tmp_path, [[[90, 6], [0, 4]], [[96, 0], [4, 0]]])  # IoU 4 / 10 and 0 / 4
    assert iou_by_size(found)["small"] == pytest.approx(4 / 14)


def test_false_positives_of_a_class_that_is_not_there_have_no_size(tmp_path):
    found = confusions(tmp_path, [[[50, 0, 40], [0, 10, 0], [0, 0, 0]]])
    assert iou_by_size(found) == {"small": None, "medium": 1.0, "large": None}


def test_an_image_without_counted_pixels_has_no_objects(tmp_path):
    found = confusions(tmp_path, [[[0, 0], [0, 0]]])
    assert iou_by_size(found) == {"small": None, "medium": None, "large": None}
