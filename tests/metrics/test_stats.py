"""Spread over runs, the paired bootstrap, and per-image confusion matrices on disk."""

import tracemalloc

import numpy as np
import pytest

from wsss_bench.metrics.functional import mean_iou
from wsss_bench.metrics.per_image import ConfusionWriter, PerImageConfusions, read_per_image
from wsss_bench.metrics.stats import difference_interval, resample, summarize


def per_image(matrices):
    image, gt, pred = np.nonzero(matrices)
    names = [f"i{n:03d}" for n in range(len(matrices))]
    return PerImageConfusions(names, matrices.shape[1], image, gt, pred, matrices[image, gt, pred])


def random_matrices(number, classes, random_seed, good):
    random = np.random.default_rng(random_seed)
    matrices = random.integers(0, 30, (number, classes, classes)) * (
        random.random((number, classes, classes)) < 0.3
    )
    matrices[:, range(classes), range(classes)] += random.integers(0, good, (number, classes))
    return matrices


def test_runs_have_a_sample_standard_deviation():
    assert summarize([1.0, 3.0]) == (2.0, pytest.approx(2**0.5), 2)
    assert summarize([0.5]) == (0.5, None, 1)
    with pytest.raises(ValueError, match="at least one"):
        summarize([])


def test_the_bootstrap_resamples_images_and_pools_their_pixels():
    first, second = random_matrices(40, 5, 2, 90), random_matrices(40, 5, 1, 60)
    sides = [resample([per_image(matrices)], samples=300, random_seed=3) for matrices in (first, second)]
    random = np.random.default_rng(3)
    plain = []
    for _ in range(300):
        drawn = random.integers(0, 40, 40)
        plain.append([100 * mean_iou(matrices[drawn].sum(0)) for matrices in (first, second)])
    np.testing.assert_allclose(np.stack([side.miou for side in sides], 1), plain, rtol=1e-9)
    interval = difference_interval(*sides)
    expected = np.quantile(np.subtract(*np.transpose(plain)), [0.025, 0.975])
    np.testing.assert_allclose(interval, expected, rtol=1e-9)
    assert interval.low < 100 * (mean_iou(first.sum(0)) - mean_iou(second.sum(0))) < interval.high
    again = [resample([per_image(matrices)], samples=300, random_seed=3) for matrices in (first, second)]
    assert interval == difference_interval(*again)


def test_pixels_of_a_draw_are_pooled_before_the_ratio():
    matrices = np.array([[[7, 0], [0, 0]], [[5, 1], [2, 3]]])
    # both images once: background 12 / (13 + 14 - 12), foreground 3 / (5 + 4 - 3); one twice: its own mIoU
    possible = [100 * (12 / 15 + 3 / 6) / 2, 100.0, 100 * (5 / 8 + 3 / 6) / 2]
    draws = resample([per_image(matrices)], samples=200).miou
    assert np.abs(draws[:, None] - possible).min(1).max() < 1e-9
    assert len(np.unique(draws.round(6))) == 3


def test_a_method_of_several_runs_is_their_mean_whatever_the_order_of_their_images():
    runs = [per_image(random_matrices(12, 3, random_seed, 60)) for random_seed in range(3)]
    mean = np.mean([resample([run], samples=70).miou for run in runs], axis=0)
    turned = runs[1].select(runs[1].image_ids[::-1])
    np.testing.assert_array_equal(resample([runs[0], turned, runs[2]], samples=70).miou, mean)


def test_a_method_does_not_differ_from_itself():
    side = resample([per_image(random_matrices(10, 3, 1, 60))], samples=20)
    assert difference_interval(side, side) == (0.0, 0.0)


def test_other_images_are_refused():
    whole = per_image(random_matrices(10, 3, 1, 60))
    part = whole.select(whole.image_ids[:9])
    with pytest.raises(ValueError, match="10 and 9 images"):
        difference_interval(resample([whole]), resample([part]))
    with pytest.raises(ValueError, match="10 and 9 images"):
        resample([whole, part])
    with pytest.raises(ValueError, match="3 and 4 classes"):
        resample([whole, whole._replace(num_classes=4)])
    with pytest.raises(ValueError, match="at least one run and one image"):
        resample([whole.select([])])


def test_coco_sizes_fit_in_memory():
    number, classes, entries = 10_000, 81, 100_000
    random = np.random.default_rng(0)
    columns = [random.integers(0, n, entries) for n in (number, classes, classes, 1000)]
    run = PerImageConfusions([str(n) for n in range(number)], classes, *columns)
    tracemalloc.start()
    difference_interval(resample([run], samples=8), resample([run], samples=8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6  # the matrices themselves would be 525 MB


def test_per_image_matrices_are_read_back_as_written(tmp_path):
    matrices = random_matrices(6, 4, 1, 60)
    matrices[2] = 0  # an image that is all 255
    names = [f"image-{n}" for n in range(6)]
    for name in ("a.npz", "b.npz"):
        with ConfusionWriter(2) as writer:
            for index, matrix in enumerate(matrices):
                writer.add(0, index, matrix)
                if index % 2:
                    writer.add(1, index, matrix)
            writer.save(tmp_path / name, names)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["image_id"].tolist() == names
        assert {file[f"0/{key}"].dtype.name for key in ("gt", "pred")} == {"uint8"}
    whole, half = (read_per_image(tmp_path / "a.npz", row, 4) for row in range(2))
    np.testing.assert_array_equal(whole.class_sums()[:, :4], matrices.diagonal(axis1=1, axis2=2))
    np.testing.assert_array_equal(whole.class_sums()[:, 4:8], matrices.sum(2))
    np.testing.assert_array_equal(whole.class_sums()[:, 8:], matrices.sum(1))
    odd = half.select(names[1::2])
    np.testing.assert_array_equal(odd.class_sums()[:, 4:8], matrices[1::2].sum(2))
