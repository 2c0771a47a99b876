"""Seeds and the paired bootstrap."""

import tracemalloc

import numpy as np
import pytest

from wsss_bench.metrics.functional import mean_iou
from wsss_bench.metrics.per_image import ConfusionWriter, PerImageConfusions, read_per_image
from wsss_bench.metrics.stats import paired_bootstrap, summarize


def per_image(matrices):
    image, gt, pred = np.nonzero(matrices)
    names = [f"i{n}" for n in range(len(matrices))]
    return PerImageConfusions(names, matrices.shape[1], image, gt, pred, matrices[image, gt, pred])


def random_matrices(number, classes, seed, good):
    random = np.random.default_rng(seed)
    matrices = random.integers(0, 30, (number, classes, classes)) * (
        random.random((number, classes, classes)) < 0.3
    )
    matrices[:, range(classes), range(classes)] += random.integers(0, good, (number, classes))
    return matrices


def test_seeds_have_a_sample_standard_deviation():
    assert summarize([1.0, 3.0]) == (2.0, pytest.approx(2**0.5), 2)
    assert summarize([0.5]) == (0.5, None, 1)
    with pytest.raises(ValueError, match="at least one"):
        summarize([])


def test_the_bootstrap_resamples_images_and_pools_their_pixels():
    first, second = random_matrices(40, 5, 1, 60), random_matrices(40, 5, 2, 90)
    result = paired_bootstrap(per_image(first), per_image(second), samples=300, seed=3)
    assert result.difference == pytest.approx(mean_iou(second.sum(0)) - mean_iou(first.sum(0)))
    random = np.random.default_rng(3)
    plain = []
    for _ in range(300):
        drawn = random.integers(0, 40, 40)
        plain.append(mean_iou(second[drawn].sum(0)) - mean_iou(first[drawn].sum(0)))
    np.testing.assert_allclose([result.low, result.high], np.quantile(plain, [0.025, 0.975]), rtol=1e-9)
    assert result.low < result.difference < result.high
    assert result == paired_bootstrap(per_image(first), per_image(second), samples=300, seed=3)


def test_a_method_does_not_differ_from_itself():
    sides = per_image(random_matrices(10, 3, 1, 60))
    assert paired_bootstrap(sides, sides, samples=20) == (0.0, 0.0, 0.0)


def test_other_images_are_refused():
    sides = per_image(random_matrices(10, 3, 1, 60))
    with pytest.raises(ValueError, match="10 and 9 images"):
        paired_bootstrap(sides, sides.select(sides.image_id[:9]))


def test_coco_sizes_fit_in_memory():
    number, classes, entries = 10_000, 81, 100_000
    random = np.random.default_rng(0)
    columns = [random.integers(0, n, entries) for n in (number, classes, classes, 1000)]
    sides = PerImageConfusions([str(n) for n in range(number)], classes, *columns)
    tracemalloc.start()
    paired_bootstrap(sides, sides, samples=8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6  # the matrices themselves would be 525 MB


def test_matrices_survive_the_disk(tmp_path):
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
    whole, half = (read_per_image(tmp_path / "a.npz", figure, 4) for figure in range(2))
    np.testing.assert_array_equal(whole.class_sums()[:, :4], matrices.diagonal(axis1=1, axis2=2))
    np.testing.assert_array_equal(whole.class_sums()[:, 4:8], matrices.sum(2))
    np.testing.assert_array_equal(whole.class_sums()[:, 8:], matrices.sum(1))
    odd = half.select(names[1::2])
    np.testing.assert_array_equal(odd.class_sums()[:, 4:8], matrices[1::2].sum(2))
