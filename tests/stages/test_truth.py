"""A ground truth that says nothing about the classes gives no score."""

import numpy as np
import pytest
from fake_source import FakeSource, write_masks, write_seeds

from wsss_bench.artifacts.files import read_seed, write_seed
from wsss_bench.stages.evaluate import evaluate


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
