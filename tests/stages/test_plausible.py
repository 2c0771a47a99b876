"""A truth that says nothing about the classes, and a prediction of other classes, give no score."""

import numpy as np
import pytest
from fake_source import FakeSource, write_masks, write_seeds

from wsss_bench.artifacts.files import write_mask
from wsss_bench.artifacts.seeds import read_seed, write_seed
from wsss_bench.stages.evaluate import evaluate
from wsss_bench.stages.plausible import check_numbering


class Painted(FakeSource):
    """The fake data set with other values in its masks."""

    def __init__(self, repaint):
        super().__init__()
        self.repaint = repaint

    def mask(self, image_id):
        return self.repaint(super().mask(image_id))


@pytest.mark.parametrize(
    ("repaint", "message"),
    [
        (
            lambda mask: np.where(mask > 0, 255, 0).astype(np.uint8),
            "none of the 3 classes; all that counts is back",
        ),
        (lambda mask: np.zeros_like(mask), "none of the 3 classes; all that counts is background"),
        (lambda mask: np.full_like(mask, 255), "none of the 3 classes; no pixel counts: all are 255"),
    ],
)
@pytest.mark.parametrize("kind", ["seeds", "masks"])
def test_truth_without_any_class_is_refused(tmp_path, repaint, message, kind):
    source = FakeSource()
    write_seeds(source, tmp_path / "seeds")
    write_masks(source, tmp_path / "masks")
    options = {"threshold": 0.3, "holdout": 2} if kind == "seeds" else {}
    with pytest.raises(ValueError, match=message):
        evaluate(
            Painted(repaint), "val", out=tmp_path / "out", resolved={}, **{kind: tmp_path / kind}, **options
        )
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_labelled_class_that_no_mask_shows_gives_a_warning(tmp_path):
    write_masks(FakeSource(), tmp_path)
    source = Painted(lambda mask: np.where(mask == 2, 255, mask).astype(np.uint8))
    with pytest.warns(UserWarning, match="split 'val': no mask shows dog, although images are labelled so"):
        evaluate(source, "val", masks=tmp_path, resolved={})


def test_a_seed_without_classes_of_another_size_is_refused(tmp_path):
    source = FakeSource()
    write_seeds(source, tmp_path)
    maps = read_seed(tmp_path, "image002")
    write_seed(
        tmp_path, maps._replace(classes=maps.classes[:0], scores=maps.scores[:0], size=maps.size[::-1])
    )
    with pytest.raises(ValueError, match=r"seed of image 'image002' is for an image of \(28, 26\)"):
        evaluate(source, "val", seeds=tmp_path, threshold=0.3, resolved={})


NAMES = ("cat", "dog", "cow", "cup", "bus", "car")


def confusion_of(*pairs):
    """A matrix with 100 pixels for each pair of truth and prediction."""
    matrix = np.zeros((7, 7), np.int64)
    for truth, predicted in pairs:
        matrix[truth, predicted] += 100
    return matrix


@pytest.mark.parametrize(
    "matrix",
    [
        confusion_of((0, 0), *((c, c - 1) for c in range(1, 7))),  # numbered from 0
        confusion_of((0, 0), *((c, 7 - c) for c in range(1, 7))),  # the other way round
        confusion_of((0, 0), *((c, c % 6 + 1) for c in range(1, 7))),
        confusion_of((0, 0), (1, 1), *((c, c + 1) for c in range(2, 6)), (2, 2)) * 3 // 2,
    ],
)
def test_a_prediction_in_another_order_is_refused(matrix):
    with pytest.raises(
        ValueError, match=r"number the classes in another way: it shows \w+ \(\d\) as \d \(\d+ %\)"
    ):
        check_numbering(matrix, NAMES)


@pytest.mark.parametrize(
    "matrix",
    [
        confusion_of(*((c, c) for c in range(7))),
        confusion_of(*((c, 0) for c in range(7))),  # all missed
        confusion_of((0, 0), *((c, 3) for c in range(1, 7))),  # collapsed to one class
        confusion_of((0, 0), (1, 2), (2, 1), *((c, c) for c in range(3, 7))),  # two classes exchanged
        confusion_of((0, 0), (1, 2), (2, 3), (3, 1), (4, 4), (5, 5), (6, 6)),  # fewer than the right ones
        np.full((7, 7), 50),  # at random
        np.zeros((7, 7), np.int64),
    ],
)
def test_poor_predictions_are_scored(matrix):
    check_numbering(matrix, NAMES)


def test_masks_numbered_from_zero_are_refused_by_the_evaluation(tmp_path):
    class Six(FakeSource):
        class_names = NAMES

        def labels(self, image_id):
            return np.ones(6, np.float32)

        def _truth(self, image_id):
            rows = np.arange(1, 7, dtype=np.uint8)
            return np.repeat(np.repeat(rows[:, None], 4, axis=0), 9, axis=1)

    source = Six(3)
    for image_id in source.ids("val"):
        write_mask(tmp_path, image_id, source.mask(image_id) - np.uint8(1))
    with pytest.raises(ValueError, match=r"dog \(2\) as 1 \(100 %\), cow \(3\) as 2 \(100 %\)"):
        evaluate(source, "val", masks=tmp_path, resolved={})
