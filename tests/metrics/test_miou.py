"""MeanIoU against torchmetrics, against the reference arrays, and over two processes."""

import numpy as np
import paths
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from wsss_bench.metrics.functional import confusion
from wsss_bench.metrics.miou import MeanIoU

GOLDEN = paths.GOLDEN / "clims"


def images(number, num_classes, seed=0, absent=()):
    random = torch.Generator().manual_seed(seed)
    allowed = torch.tensor([c for c in range(num_classes) if c not in absent])
    drawn = [allowed[torch.randint(len(allowed), (2, 9, 11), generator=random)] for _ in range(number)]
    for pair in drawn:
        pair[1][torch.rand(9, 11, generator=random) < 0.2] = 255
    return drawn


@pytest.mark.parametrize("absent", [(), (3,), (0, 2, 6)])
def test_equal_to_torchmetrics_macro_jaccard_also_with_absent_classes(absent):
    ours = MeanIoU(7)
    theirs = MulticlassJaccardIndex(7, average="macro", ignore_index=255)
    for prediction, target in images(5, 7, absent=absent):
        ours.update(prediction[None], target[None])
        theirs.update(prediction[None], target[None])
    assert ours.compute()["miou"].item() == pytest.approx(theirs.compute().item(), abs=1e-6)


def test_a_predicted_class_without_truth_counts_zero_as_in_torchmetrics():
    prediction, target = torch.tensor([[[0, 0, 1, 2]]]), torch.tensor([[[0, 0, 1, 1]]])
    ours, theirs = MeanIoU(4), MulticlassJaccardIndex(4, average="macro", ignore_index=255)
    ours.update(prediction, target)
    theirs.update(prediction, target)
    assert ours.compute()["miou"].item() == pytest.approx((1 + 0.5 + 0) / 3)
    assert theirs.compute().item() == pytest.approx((1 + 0.5 + 0) / 3)
    assert torch.isnan(ours.compute()["iou"][3])


def test_pixels_are_pooled_over_the_data_set_not_averaged_over_images():
    metric = MeanIoU(2)
    metric.update(torch.tensor([[0, 0, 0, 1]]), torch.tensor([[0, 0, 0, 0]]))
    metric.update(torch.tensor([[1, 1, 1, 1]]), torch.tensor([[1, 1, 255, 1]]))
    assert metric.compute()["miou"].item() == pytest.approx((3 / 4 + 3 / 4) / 2)


def test_equal_to_the_reference_evaluation():
    golden = np.load(GOLDEN / "eval_cam.npz")
    metric = MeanIoU(21)
    for i in range(4):
        prediction, target = (
            torch.as_tensor(golden[name].astype(int)) for name in (f"pred{i}_thr015", f"gt{i}")
        )
        metric.update(prediction[None], target[None])
    assert golden["thresholds"][2] == pytest.approx(0.15)
    np.testing.assert_array_equal(metric.compute()["confusion"], golden["confusion"][2])
    assert metric.compute()["miou"].item() == pytest.approx(golden["miou"][2], rel=1e-12)


def test_a_matrix_counted_elsewhere_is_the_same_as_pixels():
    pixels, matrices = MeanIoU(5), MeanIoU(5)
    for prediction, target in images(3, 5):
        pixels.update(prediction, target)
        matrices.update_confusion(
            confusion(prediction.numpy().astype("uint8"), target.numpy().astype("uint8"), 5)
        )
        assert matrices.update_called
        assert matrices.compute()["miou"] == pixels.compute()["miou"]  # also after an earlier compute
    matrices.reset()
    assert int(matrices.confusion.sum()) == 0
    assert not matrices.update_called


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ([[255, 0]], [[0, 0]], "prediction holds values from 0 to 255"),
        ([[0, 0]], [[0, 4]], "target holds values from 0 to 4"),
        ([[0, 0, 0]], [[0, 0]], "they must agree"),
    ],
)
def test_bad_input(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        MeanIoU(3).update(torch.tensor(prediction), torch.tensor(target))


def miou_on_a_rank(rank):
    """mIoU over the images of both ranks: 3 on the first, 2 on the second."""
    metric = MeanIoU(4)
    for prediction, target in list(images(5, 4))[rank::2]:
        metric.update(prediction, target)
    return metric.compute()["miou"].item()


def test_two_ranks_and_an_odd_number_of_images_give_the_single_process_value(rank_pair):
    single = MeanIoU(4)
    for prediction, target in images(5, 4):
        single.update(prediction, target)
    expected = single.compute()["miou"].item()
    assert rank_pair.call(miou_on_a_rank) == [expected, expected]
