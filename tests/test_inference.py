"""Multi-scale, flip, window and padding around the contract."""

import numpy as np
import paths
import pytest
import torch
from torch.nn import functional as F

from wsss_bench.bicubic import resize_by_pillow
from wsss_bench.inference import (
    Predicts,
    normalize_peaks,
    predict,
    seed_score_maps,
    segmentation_probabilities,
    slide,
)
from wsss_bench.inference_batches import batch_size_of, batches_of
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.placement import CroppedGrid, Stretched
from wsss_bench.published_probabilities import published_probabilities
from wsss_bench.published_readout import PublishedReadout, Tiles
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
    config = InferenceConfig(scales=(1.0,), short_side=20, pad_to=4)
    maps = seed_score_maps(method, [sample(40, 80)], config)[0]
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
    published_probabilities(method, [sample(40, 48)], PublishedReadout(), InferenceConfig(precision="bf16"))
    assert method.dtype == torch.bfloat16


def test_a_window_without_a_step_is_refused():
    with pytest.raises(ValueError, match="window_stride"):
        InferenceConfig(window=448)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stretch_to": 16, "pad_to": 16}, "stretch_to and inference.pad_to both"),
        ({"stretch_to": 16, "window": 224, "window_stride": 112}, "no use with inference.window"),
        ({"squash": 320, "short_side": 320}, "squash sets both sides"),
        ({"squash": 320, "long_side": 512}, "squash sets both sides"),
        ({"stretch_to": 0}, "inference.stretch_to"),
        ({"batch_size": 0}, "inference.batch_size"),
    ],
)
def test_sizes_that_exclude_each_other_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        InferenceConfig(**wrong)


@pytest.mark.parametrize(
    ("config", "image", "seen"),
    [
        ({"stretch_to": 16}, (375, 500), [(384, 512), (576, 752), (192, 256)]),
        ({"stretch_to": 16}, (16, 5), [(16, 16), (32, 16), (16, 16)]),
        ({"stretch_to": 14, "short_side": 28}, (30, 61), [(28, 70), (42, 98), (14, 42)]),
        ({"long_side": 512}, (375, 500), [(384, 512), (576, 768), (192, 256)]),
        ({"long_side": 64}, (500, 375), [(64, 48), (96, 72), (32, 24)]),
        ({"long_side": 64}, (1, 200), [(1, 64), (2, 96), (1, 32)]),
        ({"long_side": 40, "short_side": 24}, (30, 90), [(13, 40), (20, 60), (6, 20)]),
        ({"squash": 32}, (375, 500), [(32, 32), (48, 48), (16, 16)]),
        ({"squash": 30, "stretch_to": 16}, (40, 50), [(32, 32), (48, 48), (16, 16)]),
    ],
)
def test_what_the_network_sees_at_scales_1_and_one_and_a_half_and_a_half(config, image, seen):
    config = InferenceConfig((1.0, 1.5, 0.5), multi_scales=(1.5, 0.5), flip=False, **config)
    method = Average()
    (maps,) = seed_score_maps(method, [sample(*image)], config)
    assert [shape[-2:] for shape in method.shapes] == seen
    assert maps.scores.shape[-2:] == image
    method.shapes.clear()
    (found,) = segmentation_probabilities(method, [sample(*image, labels=None)], config)
    assert sorted(shape[-2:] for shape in method.shapes) == sorted(seen)
    assert found["ms"].shape[-2:] == image


def test_a_stretched_image_has_nothing_to_cut_off():
    """20 x 30 pixels are 32 x 32 to the network, whose 8 x 8 cells are drawn over the whole image."""
    config = InferenceConfig((1.0,), flip=False, stretch_to=16)
    image = sample(20, 30, labels=(1, 1, 1))
    (maps,) = seed_score_maps(Average(), [image], config)
    pixels = resize_by_pillow(torch.tensor(image.image), (32, 32)).permute(2, 0, 1)[None] / 255
    drawn = F.interpolate(F.avg_pool2d(pixels, 4), (20, 30), mode="bilinear")[0]
    np.testing.assert_allclose(maps.scores, normalize_peaks(drawn), atol=1e-3)


class Mixing(Average):
    """Maps of a random network, a background score in front of the seeds, and labels that matter."""

    def __init__(self, background=False):
        super().__init__()
        self.background = background
        self.weight = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) / 8

    @property
    def seeds_with_background(self):
        return self.background

    def seed_maps(self, image, labels, references):
        self.shapes.append(tuple(image.shape))
        maps = F.conv2d(image, self.weight, stride=4, padding=4).relu()
        foreground = maps[:, 1:] / (1 + labels.sum(1))[:, None, None, None]
        return torch.cat([maps[:, :1].tanh(), foreground], dim=1) if self.background else foreground

    def segmentation_logits(self, image):
        self.shapes.append(tuple(image.shape))
        return F.conv2d(image, self.weight, stride=4, padding=4)


SIZES = [(96, 96), (375, 500), (96, 96), (64, 80), (375, 500), (96, 96), (96, 96), (64, 80)]
LABELS = [(1, 0, 1), (0, 1, 0), (0, 0, 0), (1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0)]
SETTINGS = {
    "flip": {"scales": (1.0, 0.5)},
    "no flip": {"scales": (1.0,), "flip": False},
    "windows": {"scales": (1.0, 0.75), "window": 72, "window_stride": 40, "pad_to": 8},
    "padding": {"scales": (1.0,), "pad_to": 16},
    "stretch": {"scales": (1.0, 0.5), "stretch_to": 16},
    "squash": {"scales": (1.0,), "squash": 48},
    "no background class": {"scales": (1.0,), "background": False},
}


def mixed_sizes(labels=LABELS):
    return [
        sample(*size, labels=given, seed=number)._replace(image_id=str(number))
        for number, (size, given) in enumerate(zip(SIZES, labels, strict=True))
    ]


def together(predict_batch, samples, batch_size):
    """Results of images in their order, of batches of equal size."""
    found = {}
    for positions in batches_of(samples, batch_size):
        found |= zip(positions, predict_batch([samples[p] for p in positions]), strict=True)
    return [found[position] for position in range(len(samples))]


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("setting", SETTINGS)
def test_seeds_of_a_batch_are_those_of_each_image_alone(setting, background):
    config, method = InferenceConfig(**SETTINGS[setting]), Mixing(background)
    samples = mixed_sizes()
    alone = [seed_score_maps(method, [sample], config)[0] for sample in samples]
    passes = len(method.shapes)
    found = together(lambda batch: predict(method, batch, "seed", config), samples, 4)
    assert len(method.shapes) - passes < passes
    for one, other in zip(found, alone, strict=True):
        assert (one.image_id, one.size) == (other.image_id, other.size)
        np.testing.assert_array_equal(one.classes, other.classes)
        for a, b in zip((*one[2:3], *one[4:]), (*other[2:3], *other[4:]), strict=True):
            if b is not None:  # stored in half precision
                np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), atol=1e-3)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_segmentation_of_a_batch_is_that_of_each_image_alone(setting):
    config, method = InferenceConfig(multi_scales=(0.75, 1.0), **SETTINGS[setting]), Mixing()
    samples = mixed_sizes([None] * len(SIZES))
    alone = [segmentation_probabilities(method, [sample], config)[0] for sample in samples]
    passes = len(method.shapes)
    found = together(lambda batch: predict(method, batch, "segmentation", config), samples, 4)
    assert len(method.shapes) - passes < passes
    for one, other in zip(found, alone, strict=True):
        for scales in ("ss", "ms"):
            np.testing.assert_allclose(one[scales], other[scales], atol=1e-5)
            np.testing.assert_array_equal(one[scales].argmax(0), other[scales].argmax(0))


@pytest.mark.parametrize(
    "readout",
    [
        PublishedReadout((1.0, 0.5), mirror="max", fuse="mean", scores="probabilities"),
        PublishedReadout(squash=64, remainder="drop", resize="cv2_bilinear"),
        PublishedReadout((1.0, 0.75), long_side=80, mirror="mean", fuse="mean", fuse_at="grid"),
        PublishedReadout(tiles=Tiles(60, 40, (0.5, 0.5, 0.5)), scores="probabilities", mirror="sum"),
    ],
)
def test_a_published_readout_of_a_batch_is_that_of_each_image_alone(readout):
    config, method = InferenceConfig(stretch_to=8), Mixing()
    samples = mixed_sizes([None] * len(SIZES))
    alone = [published_probabilities(method, [sample], readout, config)[0] for sample in samples]
    found = together(lambda batch: published_probabilities(method, batch, readout, config), samples, 3)
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_batches_hold_images_of_one_size_and_at_most_so_many():
    assert batches_of(mixed_sizes(), 3) == [[0, 2, 5], [6], [1, 4], [3, 7]]
    assert batches_of(mixed_sizes(), 1) == [[0], [2], [5], [6], [1], [4], [3], [7]]


def test_the_size_of_a_batch_follows_from_the_device_unless_it_is_given():
    gpu, cpu = torch.device("cuda", 1), torch.device("cpu")
    assert batch_size_of(InferenceConfig(), cpu, True) == 1
    assert batch_size_of(InferenceConfig(), gpu, True) == 4
    assert batch_size_of(InferenceConfig(batch_size=7), cpu, True) == 7
    for config, independent in (
        (InferenceConfig(batch_size=7), False),
        (InferenceConfig(references=3), True),
    ):
        assert batch_size_of(config, gpu, independent) == 1
