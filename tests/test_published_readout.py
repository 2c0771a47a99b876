"""The read-outs that papers were measured with, against the authors' procedures."""

import cv2
import numpy as np
import paths
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from wsss_bench.inference import Predicts, segmentation_probabilities
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.nn.pamr import pamr
from wsss_bench.placement import CornerAligned, Stretched
from wsss_bench.published_probabilities import (
    published_probabilities,
    tile_scores,
    without_small_classes,
)
from wsss_bench.published_readout import PublishedReadout, Tiles
from wsss_bench.types import InferenceSample

GOLDEN = paths.GOLDEN / "readout"
SIZES = [(375, 500), (333, 500)]
MCIS = Tiles(401, 267, (0.485, 0.456, 0.406))
PATCH = 16


class Patches(Predicts):
    """A patch embedding without padding in place of a ViT: five random linear maps of each patch."""

    device = torch.device("cpu")
    segmentation_placement = Stretched()

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(5, 3, PATCH, PATCH, generator=generator) / PATCH
        self.seen = []

    def segmentation_logits(self, image):
        self.seen.append(tuple(image.shape[-2:]))
        return F.conv2d(image, self.weight, stride=PATCH)


def sample(height, width, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    return InferenceSample("a", cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR), None)


def tensor(image):
    return torch.tensor(image).permute(2, 0, 1)[None].float() / 255


def bilinear(maps, size):
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("size", [*SIZES, (301, 417)])
def test_toco_on_voc_adds_mirrored_logits_and_takes_the_maximum_over_scales(size):
    readout = PublishedReadout((1.0, 1.25, 1.5), remainder="drop", mirror="sum", fuse="max")
    method, image = Patches(), sample(*size)
    found = published_probabilities(method, [image], readout, InferenceConfig(pad_to=PATCH))[0]
    height, width = size
    scaled = [(int(height * s), int(width * s)) for s in (1, 1.25, 1.5)]
    assert method.seen == [(h // PATCH * PATCH, w // PATCH * PATCH) for h, w in scaled]
    logits = []
    for view in scaled:
        pixels = bilinear(tensor(image.image), view)
        plain, mirrored = (
            bilinear(F.conv2d(p, method.weight, stride=PATCH), size) for p in (pixels, pixels.flip(-1))
        )
        logits.append(plain + mirrored.flip(-1))
    expected = torch.stack(logits).amax(dim=0).softmax(dim=1)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_toco_on_coco_squashes_takes_the_maximum_of_mirrored_logits_and_adds_scales():
    readout = PublishedReadout((1.0, 1.25, 1.5), squash=448, remainder="drop", mirror="max", fuse="sum")
    method, image = Patches(), sample(375, 500)
    found = published_probabilities(method, [image], readout, InferenceConfig(pad_to=PATCH))[0]
    assert method.seen == [(448, 448), (560, 560), (672, 672)]
    square, total = bilinear(tensor(image.image), (448, 448)), 0
    for side in (448, 560, 672):
        view = bilinear(square, (side, side))
        plain, mirrored = (
            bilinear(F.conv2d(v, method.weight, stride=PATCH), (375, 500)) for v in (view, view.flip(-1))
        )
        total = total + torch.maximum(plain, mirrored.flip(-1))
    np.testing.assert_allclose(found, total.softmax(dim=1)[0], rtol=1e-4, atol=1e-6)


def test_the_log_of_toco_sees_a_square_once():
    method, image = Patches(), sample(333, 500)
    readout = PublishedReadout(squash=448, remainder="drop")
    found = published_probabilities(method, [image], readout, InferenceConfig(pad_to=PATCH))[0]
    assert method.seen == [(448, 448)]
    logits = F.conv2d(bilinear(tensor(image.image), (448, 448)), method.weight, stride=PATCH)
    np.testing.assert_allclose(found, bilinear(logits, (333, 500)).softmax(1)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_tiles_are_those_of_mcis(size):
    golden = np.load(GOLDEN / f"mcis_tiles_{size[0]}x{size[1]}.npz")
    tiles = iter(golden["tile_logits_x6"].astype(np.float32))

    def forward(tile):
        assert tile.shape[-2:] == (401, 401)
        logits = F.pad(torch.tensor(next(tiles))[None], (0, 0, 0, 0, 0, 21 - 4))  # 21 classes, four occur
        return CornerAligned(8).draw(logits, (401, 401), (401, 401)).softmax(dim=1)

    scores = tile_scores(forward, torch.zeros(1, 3, *size), MCIS)[0]
    assert next(tiles, None) is None
    np.testing.assert_allclose(scores[:, 10].sum(dim=0), golden["score_sum_row10"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores[:4, 124].T, golden["scores_row124"], rtol=1e-5, atol=1e-6)
    assert np.sum(scores.argmax(dim=0).numpy() != golden["label"]) <= 5


class Sampling(Predicts):
    """Logits of three classes from every eighth pixel, as LargeFOV lies on its tiles."""

    device = torch.device("cpu")
    segmentation_placement = CornerAligned(8)

    def __init__(self):
        self.first = []

    def segmentation_logits(self, image):
        assert image.shape[-2:] == (401, 401)
        self.first.append(image[0, 0].clone())
        return 6 * image[..., ::8, ::8]


@pytest.mark.parametrize("size", [(375, 500), (301, 417), (261, 500)])
def test_mcis_averages_probabilities_over_scales_and_mirror_images(size):
    scales = (0.5, 1.0, 1.5)
    readout = PublishedReadout(
        scales, resize="cv2_bicubic", tiles=MCIS, scores="probabilities", mirror="mean", fuse="mean"
    )
    image, method = sample(*size), Sampling()
    found = published_probabilities(method, [image], readout, InferenceConfig())[0]
    total = np.zeros((*size, 3))
    for scale in scales:
        scaled = (
            cv2.resize(image.image.astype(float), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            / 255
        )
        for mirrored in (False, True):
            view = scaled[:, ::-1] if mirrored else scaled
            maps = tile_scores(
                lambda tile: (
                    CornerAligned(8).draw(6 * tile[..., ::8, ::8], (401, 401), (401, 401)).softmax(1)
                ),
                torch.tensor(view.copy()).permute(2, 0, 1)[None].float(),
                MCIS,
            )[0].permute(1, 2, 0)
            drawn = cv2.resize(maps.numpy(), size[::-1], interpolation=cv2.INTER_CUBIC)
            total += drawn[:, ::-1] if mirrored else drawn
    total /= 2 * len(scales)
    expected = (total / total.sum(axis=2, keepdims=True)).transpose(2, 0, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_what_is_filled_up_has_the_mean_colour():
    method = Sampling()
    readout = PublishedReadout(resize="cv2_bicubic", tiles=MCIS, scores="probabilities")
    published_probabilities(method, [sample(301, 417)], readout, InferenceConfig())
    assert len(method.first) == 2  # columns 0 and 16
    assert torch.all(method.first[0][301:] == 0.485)


def test_an_image_without_a_tile_is_refused():
    readout = PublishedReadout(tiles=MCIS, scores="probabilities")
    with pytest.raises(ValueError, match="image 'a' of 100x120 pixels has no tile"):
        published_probabilities(Sampling(), [sample(100, 120)], readout, InferenceConfig())[0]


@pytest.mark.parametrize("size", SIZES)
def test_one_pass_is_the_single_scale_of_the_suite(size):
    image, config = sample(*size), InferenceConfig(pad_to=PATCH)
    found = published_probabilities(Patches(), [image], PublishedReadout(), config)[0]
    suite = segmentation_probabilities(Patches(), [image], config)[0]["ss"]
    np.testing.assert_allclose(found, suite, rtol=1e-4, atol=1e-6)


def test_mmsegmentation_resizes_bytes_with_opencv():
    image, method = sample(333, 500), Patches()
    config = InferenceConfig(pad_to=PATCH, short_side=448)
    found = published_probabilities(method, [image], PublishedReadout(resize="cv2_bilinear"), config)[0]
    view = tensor(cv2.resize(image.image, (673, 448), interpolation=cv2.INTER_LINEAR))
    padded = F.pad(view, (7, 8, 0, 0))  # 673 -> 688
    maps = bilinear(F.conv2d(padded, method.weight, stride=PATCH), (448, 688))[..., 7:680]
    np.testing.assert_allclose(found, bilinear(maps, (333, 500)).softmax(1)[0], rtol=1e-4, atol=1e-6)


def test_a_data_set_without_background_has_none():
    readout = PublishedReadout((1.0, 1.5), mirror="sum", fuse="max")
    config = InferenceConfig(pad_to=PATCH, background=False)
    found = published_probabilities(Patches(), [sample(60, 80)], readout, config)[0]
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": ()}, "at least one"),
        ({"scales": (1.0, float("nan"))}, "positive numbers"),
        ({"squash": 0}, "side of a square"),
        ({"tiles": MCIS, "remainder": "drop"}, "leave out one"),
        ({"mirrored_scales": (1.0,)}, "with mirror images; got .* mirror: none"),
        ({"mirrored_scales": (0.5,), "mirror": "mean"}, "some of the scales"),
        ({"fuse_at": 0.0}, "share of the size"),
        ({"fuse_at": 1.5}, "share of the size"),
    ],
)
def test_values_that_cannot_be_used_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        PublishedReadout(**values)


def test_a_step_beyond_the_tile_is_refused():
    with pytest.raises(ValueError, match="0 < step <= side"):
        Tiles(10, 11, (0, 0, 0))


def test_pamr_refines_the_scores_at_the_size_of_the_image_and_leaves_no_background():
    image = sample(96, 144)
    plain, refined = (
        published_probabilities(
            Patches(), [image], PublishedReadout(pamr_dilations=dilations), InferenceConfig(background=False)
        )[0]
        for dilations in ((), (8, 16))
    )
    assert not refined[0].any()
    assert_close(refined.sum(dim=0), torch.ones(96, 144))
    logits = plain[None, 1:].log()
    expected = pamr(tensor(image.image), logits, dilations=(8, 16)).softmax(dim=1)[0]
    assert_close(refined[1:], expected, atol=1e-5, rtol=1e-4)
    assert (refined - plain).abs().max() > 0.01


def test_pamr_follows_the_colours_that_the_network_saw():
    """NACLIP gives PAMR its reduced input, enlarged again, and not the sharper image itself."""
    image, config = sample(375, 500), InferenceConfig(short_side=96)
    plain, refined = (
        published_probabilities(
            Patches(), [image], PublishedReadout(resize="cv2_bilinear", pamr_dilations=dilations), config
        )[0]
        for dilations in ((), (8, 16))
    )
    seen = tensor(cv2.resize(image.image, (128, 96), interpolation=cv2.INTER_LINEAR))
    guides = {"seen": bilinear(seen, (375, 500)), "image": tensor(image.image)}
    expected = {
        name: pamr(guide, plain[None].log(), dilations=(8, 16)).softmax(dim=1)[0]
        for name, guide in guides.items()
    }
    assert_close(refined, expected["seen"], atol=1e-5, rtol=1e-4)
    assert (refined - expected["image"]).abs().max() > 0.01


@pytest.mark.parametrize("size", [(96, 144), (75, 101), (40, 131)])
def test_windows_drop_their_remainder(size):
    """Windows are whole patches; an image smaller than one is seen without the remainder of its patches."""
    config = InferenceConfig(pad_to=PATCH, window=4 * PATCH, window_stride=2 * PATCH)
    method, image = Patches(), sample(*size)
    found = published_probabilities(method, [image], PublishedReadout(remainder="drop"), config)[0]
    height, width = size
    total, count = torch.zeros(1, 5, height, width), torch.zeros(height, width)
    for top in starts(height, 4 * PATCH, 2 * PATCH):
        for left in starts(width, 4 * PATCH, 2 * PATCH):
            window = tensor(image.image)[..., top : top + 4 * PATCH, left : left + 4 * PATCH]
            rows, columns = (side // PATCH * PATCH for side in window.shape[-2:])
            scores = method.segmentation_logits(window[..., :rows, :columns])
            place = (..., slice(top, top + window.shape[-2]), slice(left, left + window.shape[-1]))
            total[place] += bilinear(scores, window.shape[-2:])
            count[place] += 1
    assert_close(found, (total / count).softmax(dim=1)[0], atol=1e-5, rtol=1e-4)
    assert {side % PATCH for seen in method.seen for side in seen} == {0}


def starts(length, window, stride):
    steps = -(-max(length - window, 0) // stride) + 1
    return [max(min(step * stride + window, length) - window, 0) for step in range(steps)]


def test_small_classes_lose_their_pixels_to_the_next_best():
    readout = PublishedReadout(area_threshold=0.2)
    image = sample(96, 144)
    method = Patches()
    method.weight -= method.weight.mean(dim=(1, 2, 3), keepdim=True)  # all classes win somewhere
    plain, kept = (
        published_probabilities(method, [image], with_rule, InferenceConfig())[0]
        for with_rule in (PublishedReadout(), readout)
    )
    wins = torch.bincount(plain.argmax(dim=0).flatten(), minlength=5)
    small = wins <= 0.2 * wins[1:].sum()
    small[0] = False
    assert 0 < small.sum() < 4
    assert not kept[small].any()
    assert torch.equal(kept[~small], plain[~small])
    only_background = torch.tensor([0.9, 0.1]).view(2, 1, 1).expand(2, 4, 5)
    assert not without_small_classes(only_background, 0.1).argmax(dim=0).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pamr_dilations": (0,)}, r"pamr_dilations of a read-out\[0\] is 0"),
        (
            {"area_threshold": 1.0},
            "area_threshold of a read-out is 1.0; expected a number",
        ),
    ],
)
def test_numbers_of_the_post_processing_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        PublishedReadout(**arguments)


@pytest.mark.parametrize(("size", "base"), [((375, 500), (384, 512)), ((500, 333), (512, 340))])
def test_weclip_takes_a_long_side_and_fuses_on_the_grid(size, base):
    settings = {"scales": (1.0, 0.75), "resize": "bilinear_factor", "mirror": "mean", "fuse_at": "grid"}
    readout = PublishedReadout(long_side=512, remainder="drop", fuse="mean", **settings)
    method, image = Patches(), sample(*size)
    (found,) = published_probabilities(method, [image], readout, InferenceConfig(pad_to=PATCH))
    smaller = [int(side * 0.75) for side in base]
    assert method.seen == [tuple(side // PATCH * PATCH for side in view) for view in (base, smaller)]
    large = bilinear(tensor(image.image), base)
    views = [large, F.interpolate(large, scale_factor=0.75, mode="bilinear")]
    logits = []
    for view in views:
        plain, mirrored = (F.conv2d(p, method.weight, stride=PATCH) for p in (view, view.flip(-1)))
        logits.append(bilinear((plain + mirrored.flip(-1)) / 2, [side // PATCH for side in base]))
    expected = bilinear(torch.stack(logits).mean(dim=0), size).softmax(dim=1)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"squash": 448, "long_side": 512}, "both give the base size"),
        ({"long_side": 0}, "long_side is a number of pixels"),
        ({"tiles": MCIS, "fuse_at": "grid"}, "leave out fuse_at: grid"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PublishedReadout(**settings)
