"""Multi-scale, flip, window and padding around the contract."""

import numpy as np
import paths
import pytest
import torch
from torch.nn import functional as F

from wsss_bench.inference import (
    InferenceConfig,
    Predicts,
    normalize_peaks,
    predict,
    seed_score_maps,
    segmentation_probabilities,
    slide,
)
from wsss_bench.placement import CroppedGrid, Stretched
from wsss_bench.published_readout import PublishedReadout, published_probabilities
from wsss_bench.types import InferenceSample

GOLDEN = paths.GOLDEN / "clims"


class Average(Predicts):
    """A method whose maps are 4x4 block means of the colour channels, which mirror with the image."""

    device = torch.device("cpu")
    seed_placement = CroppedGrid(4)
    segmentation_placement = Stretched()

    def __init__(self):
        self.shapes = []

    def seed_maps(self, image, labels, references):
        self.shapes.append(tuple(image.shape))
        return F.avg_pool2d(image, 4, ceil_mode=True)

    def segmentation_logits(self, image):
        self.shapes.append(tuple(image.shape))
        return torch.cat([torch.full_like(image[:, :1], 0.5), image], dim=1)


class Recorded(Predicts):
    """Replays the per-scale outputs of the published network, already added to their mirror image."""

    device = torch.device("cpu")
    seed_placement = CroppedGrid(16)

    def __init__(self, outputs):
        self.outputs = iter(outputs)

    def seed_maps(self, image, labels, references):
        return torch.tensor(next(self.outputs))[None]


def sample(height=37, width=50, labels=(1, 0, 1), seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return InferenceSample("a", image, None if labels is None else np.array(labels, np.float32))


def test_fusion_of_scales_equals_irn():
    golden = np.load(GOLDEN / "multiscale_fusion.npz")
    image = np.zeros((*golden["size"], 3), np.uint8)
    outputs = [golden[f"out_scale{scale}"] for scale in ("1", "05", "15", "2")]
    config = InferenceConfig(flip=False)
    maps = seed_score_maps(Recorded(outputs), [InferenceSample("a", image, golden["label"])], config)[0]
    np.testing.assert_array_equal(maps.classes, golden["keys"] + 1)
    # stored in half precision: 11 bits
    np.testing.assert_allclose(maps.scores.astype(np.float32), golden["high_res"], atol=5e-4)
    np.testing.assert_allclose(maps.strided.astype(np.float32), golden["cam"], atol=5e-4)


def test_fusion_is_exact_before_storing():
    golden = np.load(GOLDEN / "multiscale_fusion.npz")
    size = tuple(int(n) for n in golden["size"])
    total = sum(
        CroppedGrid(16).draw(torch.tensor(golden[f"out_scale{s}"])[None, golden["keys"]], size, size)[0]
        for s in ("1", "05", "15", "2")
    )
    np.testing.assert_allclose(normalize_peaks(total), golden["high_res"], rtol=1e-5, atol=1e-6)


def test_seeds_hold_labelled_classes_only_with_peak_below_one():
    method = Average()
    maps = seed_score_maps(method, [sample()], InferenceConfig(scales=(1.0, 0.5)))[0]
    assert maps.classes.tolist() == [1, 3]
    assert maps.scores.shape == (2, 37, 50)
    assert maps.size == (37, 50)
    assert np.all(maps.scores.max(axis=(1, 2)) > 0.99)
    assert maps.scores.max() <= 1
    assert [shape[-2:] for shape in method.shapes] == [(37, 50), (18, 25)]  # round(18.5) = 18


def test_image_without_labels_gives_empty_seeds():
    maps = seed_score_maps(Average(), [sample(labels=(0, 0, 0))], InferenceConfig())[0]
    assert maps.scores.shape[0] == 0
    with pytest.raises(ValueError, match="need its image labels"):
        seed_score_maps(Average(), [sample(labels=None)], InferenceConfig())[0]


def test_mirroring_the_image_mirrors_the_result():
    config = InferenceConfig(scales=(1.0, 0.5))
    image = sample(32, 40)
    mirrored = image._replace(image=np.ascontiguousarray(image.image[:, ::-1]))
    straight = seed_score_maps(Average(), [image], config)[0].scores
    np.testing.assert_allclose(
        seed_score_maps(Average(), [mirrored], config)[0].scores[..., ::-1], straight, atol=1e-3
    )


def test_segmentation_reads_out_single_and_multi_scale_from_one_pass():
    method = Average()
    config = InferenceConfig(multi_scales=(0.5, 1.0))
    found = segmentation_probabilities(method, [sample(labels=None)], config)[0]
    assert len(method.shapes) == 2
    np.testing.assert_allclose(found["ss"].sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(found["ms"].sum(axis=0), 1, rtol=1e-5)
    # single scale is one plain forward pass
    image = torch.tensor(sample().image).permute(2, 0, 1)[None] / 255
    expected = method.segmentation_logits(image).softmax(1)[0]
    np.testing.assert_allclose(found["ss"], expected, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(10, 23), (8, 8), (5, 20)])
def test_windows_average_overlaps_like_a_plain_loop(height, width):
    image = torch.rand(1, 3, height, width)
    seen = []

    def forward(crop):
        seen.append(tuple(crop.shape[-2:]))
        return crop * 2

    np.testing.assert_allclose(slide(forward, image, 8, 4), image * 2, rtol=1e-6)
    assert set(seen) == {(min(height, 8), min(width, 8))}


def test_windows_stop_at_the_border_and_shift_back():
    starts = []
    image = torch.arange(23.0).expand(1, 1, 8, 23)
    slide(lambda crop: (starts.append(int(crop[0, 0, 0, 0])), crop)[1], image, 8, 4)
    assert starts == [0, 4, 8, 12, 15]


def test_padding_is_removed_again():
    config = InferenceConfig(scales=(1.0,), flip=False, pad_to=16)
    method = Average()
    maps = seed_score_maps(method, [sample(20, 30, labels=(1, 1, 1))], config)[0]
    assert method.shapes == [(1, 3, 32, 32)]
    padded = F.pad(torch.tensor(sample(20, 30).image).permute(2, 0, 1)[None] / 255, (1, 1, 6, 6))
    expected = F.interpolate(F.avg_pool2d(padded, 4), (32, 32), mode="bilinear")[0, :, 6:26, 1:31]
    np.testing.assert_allclose(maps.scores, normalize_peaks(expected), atol=1e-3)


def test_short_side_is_resized_and_the_map_comes_back_at_image_size():
    method = Average()
    maps = seed_score_maps(method, [sample(40, 80)], InferenceConfig(scales=(1.0,), short_side=20, pad_to=4))[
        0
    ]
    assert method.shapes == [(2, 3, 20, 40)]
    assert maps.scores.shape == (2, 40, 80)


class Weighted(Average):
    """Averages with a convolution, and keeps the type that it computed in."""

    def seed_maps(self, image, labels, references):
        maps = F.conv2d(image, torch.ones(3, 3, 4, 4) / 48, stride=4)
        self.dtype = maps.dtype
        return maps

    def segmentation_logits(self, image):
        return torch.cat([torch.zeros_like(image[:, :1, ::4, ::4]), self.seed_maps(image, None, ())], dim=1)


@pytest.mark.parametrize("product", ["seed", "segmentation"])
def test_bf16_is_of_the_network_alone(product):
    results = {}
    for precision, dtype in ((None, torch.float32), ("bf16", torch.bfloat16)):
        method = Weighted()
        config = InferenceConfig((1.0, 0.5), multi_scales=(1.0, 0.5), precision=precision)
        result = predict(method, [sample(40, 48)], product, config)[0]
        assert method.dtype == dtype
        results[precision] = result.scores if product == "seed" else result["ms"].numpy()
    assert results["bf16"].dtype == results[None].dtype
    assert not np.array_equal(results["bf16"], results[None])
    np.testing.assert_allclose(results["bf16"], results[None], atol=0.02)


def test_a_published_readout_has_the_precision_of_the_configuration():
    method = Weighted()
    published_probabilities(method, [sample(40, 48)], PublishedReadout(), InferenceConfig(precision="bf16"))[
        0
    ]
    assert method.dtype == torch.bfloat16


def test_a_window_without_a_step_is_refused():
    with pytest.raises(ValueError, match="window_stride"):
        InferenceConfig(window=448)
