import os
from dataclasses import replace

import numpy as np
import paths
import pytest
import torch

from wsss_bench.data.transforms import Transform, TransformConfig
from wsss_bench.plan.reader import read_configs
from wsss_bench.types import IMAGENET_MEAN

MEAN = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


@pytest.fixture
def image():
    """A smooth ramp, so that position can be read off the colour: red grows to the right, green downwards."""
    rows, columns = np.mgrid[0:60, 0:80]
    return np.stack([columns * 3, rows * 4, np.full_like(rows, 200)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("kind", ["irn", "toco", "scale", "square", "random_resized_crop", "resize"])
def test_same_key_same_crop_whatever_was_drawn_before(kind, image):
    config = TransformConfig(kind, 48, (30, 90))
    fresh = Transform(config)(image, (3, 1, 7))
    used = Transform(config)
    for index in range(5):
        used(image, (3, 0, index))
    again = used(image, (3, 1, 7))
    assert torch.equal(fresh.image, again.image)
    assert torch.equal(fresh.valid, again.valid)


@pytest.mark.parametrize("key", [(4, 1, 7), (3, 2, 7), (3, 1, 8)])
def test_seed_epoch_and_index_all_matter(key, image):
    transform = Transform(TransformConfig("irn", 48, (30, 90)))
    assert not torch.equal(transform(image, (3, 1, 7)).image, transform(image, key).image)


def test_the_draw_does_not_depend_on_a_mask_being_there(image):
    transform = Transform(TransformConfig("toco", 48))
    with_mask = transform(image, (0, 0, 1), np.zeros((60, 80), np.uint8))
    assert torch.equal(with_mask.image, transform(image, (0, 0, 1)).image)


@pytest.mark.parametrize("kind", ["irn", "toco", "scale", "resize"])
def test_padding_is_exactly_zero_after_normalisation_and_255_in_the_mask(kind, image):
    transform = Transform(TransformConfig(kind, 96, (30, 60), (0.5, 0.9)))
    crop = transform(image, (0, 0, 0), np.ones((60, 80), np.uint8))
    assert crop.image.shape == (3, 96, 96)
    assert 0 < crop.valid.sum() < 96 * 96
    normalised = (crop.image - MEAN) / STD
    assert normalised[:, ~crop.valid].abs().max() == 0
    assert (crop.mask[~crop.valid] == 255).all()
    assert (crop.mask[crop.valid] == 1).all()


@pytest.mark.parametrize("kind", ["irn", "scale", "resize"])
def test_black_padding_is_black_and_255_in_the_mask(kind, image):
    config = TransformConfig(kind, 96, (30, 60), (0.5, 0.9), padding="black")
    crop, mean = (
        Transform(one)(image, (0, 0, 0), np.ones((60, 80), np.uint8))
        for one in (config, replace(config, padding="mean"))
    )
    assert 0 < crop.valid.sum() < 96 * 96
    assert not crop.image[:, ~crop.valid].any()
    assert (crop.mask[~crop.valid] == 255).all()
    assert torch.equal(crop.valid, mean.valid)
    assert torch.equal(crop.image[:, crop.valid], mean.image[:, mean.valid])


def test_toco_augments_its_black_padding_as_the_image():
    """The authors pad before jitter and blur: the border of a bright image is dark on both sides."""
    white = np.full((40, 40, 3), 255, np.uint8)
    transform = Transform(TransformConfig("toco", 100, scale=(0.5, 0.5), padding="black"))
    crops = [transform(white, (0, 0, index)) for index in range(20)]
    for crop in crops:
        assert crop.image[:, crop.valid].mean() > 2 * crop.image[:, ~crop.valid].mean()
    assert any(crop.image[:, ~crop.valid].max() > 0.05 for crop in crops)
    assert any(crop.image[:, crop.valid].min() < 0.8 for crop in crops)


@pytest.mark.parametrize(
    ("name", "padding"),
    [("toco", "black"), ("dalnet", "black"), ("weclip", "black"), ("excel", "black"), ("clims", "mean")],
)
@pytest.mark.parametrize("dataset", ["voc", "coco"])
def test_padding_of_the_methods_is_the_published_one(name, padding, dataset):
    content = read_configs(paths.CONFIGS).method(name, dataset, {})
    assert TransformConfig(**content.data["transform"]).padding == padding


def test_irn_places_a_small_image_anywhere_in_the_crop(image):
    transform = Transform(TransformConfig("irn", 96, (40, 40)))
    corners = {tuple(transform(image, (0, 0, i)).valid.nonzero()[0].tolist()) for i in range(60)}
    tops, lefts = zip(*corners, strict=True)
    assert {transform(image, (0, 0, i)).valid.sum().item() for i in range(20)} == {40 * 30}
    assert min(tops) < 10
    assert max(tops) > 56
    assert min(lefts) < 10
    assert max(lefts) > 46


def test_irn_draws_the_long_side_evenly_and_both_flips(image):
    transform = Transform(TransformConfig("irn", 64, (20, 40)))
    longs, flips = [], []
    for index in range(400):
        crop = transform(image, (0, 0, index))
        columns = crop.valid.any(dim=0).nonzero().flatten()
        longs.append(len(columns))
        row = crop.image[0, crop.valid.any(dim=1).nonzero()[0, 0]]
        flips.append(bool(row[columns[0]] > row[columns[-1]]))
    assert (min(longs), max(longs)) == (20, 40)
    assert np.mean(longs) == pytest.approx(30, abs=1)
    assert np.mean(flips) == pytest.approx(0.5, abs=0.08)
    # a separate generator for each step, equally seeded, would tie the flip to the size
    assert abs(np.corrcoef(longs, flips)[0, 1]) < 0.15


def test_image_and_mask_move_together(image):
    mask = (image[..., 0] >= 120).astype(np.uint8)  # right half, by colour
    transform = Transform(TransformConfig("irn", 64, (70, 110)))
    for index in range(20):
        crop = transform(image, (0, 0, index), mask)
        red = crop.image[0] * 255
        sure = crop.valid & ((red - 120).abs() > 4)
        assert torch.equal(crop.mask[sure] == 1, red[sure] > 120)


def test_toco_scales_within_its_range_and_blurs_no_black_into_the_picture():
    grey = np.full((40, 40, 3), (124, 116, 104), np.uint8)  # the padding's colour: blur must leave it alone
    transform = Transform(TransformConfig("toco", 100, scale=(0.5, 2.0)))
    sides = []
    for index in range(60):
        crop = transform(grey, (0, 0, index))
        sides.append(int(crop.valid.any(dim=0).sum()))
        inside = crop.image[:, crop.valid]
        assert inside.std(dim=1).max() < 0.01
    assert 20 <= min(sides) < 30
    assert 70 < max(sides) <= 80


def test_toco_changes_colours():
    orange = np.full((40, 40, 3), (220, 130, 40), np.uint8)
    transform = Transform(TransformConfig("toco", 20, scale=(1.0, 1.0)))
    drawn = torch.stack([transform(orange, (0, 0, index)).image.mean(dim=(1, 2)) for index in range(300)])
    grey = (drawn.amax(dim=1) - drawn.amin(dim=1)) < 0.01
    assert grey.float().mean() == pytest.approx(0.2, abs=0.06)
    as_it_was = (drawn * 255 - torch.tensor([220.0, 130.0, 40.0])).abs().amax(dim=1) < 0.6
    assert as_it_was.float().mean() == pytest.approx(0.2 * 0.8, abs=0.06)  # neither jittered nor grey
    assert drawn[~grey].std(dim=0).min() > 0.03


def test_toco_blurs_by_a_drawn_radius():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), dtype=np.uint8).repeat(3, axis=2)
    transform = Transform(TransformConfig("toco", 48, scale=(1.0, 1.0)))
    spread = [transform(noise, (0, 0, index)).image.std().item() for index in range(60)]
    # 0.29 untouched; a Gaussian of radius 2 leaves 1 / (2 * 2 * sqrt(pi)) of it
    assert min(spread) < 0.06
    assert max(spread) > 0.2


def test_scale_draws_its_factors_evenly_and_pads_below_and_to_the_right(image):
    transform = Transform(TransformConfig("scale", 130, scale=(0.5, 1.5), scale_step=0.25))
    widths, flips = [], []
    for index in range(300):
        crop = transform(image, (0, 0, index))
        rows, columns = crop.valid.any(dim=1), crop.valid.any(dim=0)
        widths.append(int(columns.sum()))
        assert rows[: rows.sum()].all()
        assert columns[: widths[-1]].all()
        flips.append(bool(crop.image[0, 0, 0] > crop.image[0, 0, widths[-1] - 1]))
    assert sorted(set(widths)) == [40, 60, 80, 100, 120]
    assert min(widths.count(width) for width in set(widths)) > 40  # of 60
    assert np.mean(flips) == pytest.approx(0.5, abs=0.08)
    assert abs(np.corrcoef(widths, flips)[0, 1]) < 0.15


def test_scale_without_a_step_draws_any_factor_and_crops_what_is_too_large(image):
    transform = Transform(TransformConfig("scale", 200, scale=(0.5, 1.5)))
    widths = [int(transform(image, (0, 0, index)).valid.any(dim=0).sum()) for index in range(60)]
    assert len(set(widths)) > 25
    assert 40 <= min(widths) < 48
    assert 112 < max(widths) <= 120
    crop = Transform(TransformConfig("scale", 32, scale=(1.0, 1.5)))(image, (0, 0, 0))
    assert crop.valid.all()


def test_scale_moves_image_and_mask_together(image):
    mask = (image[..., 0] >= 120).astype(np.uint8)
    transform = Transform(TransformConfig("scale", 64, scale=(0.8, 1.4), scale_step=0.2))
    for index in range(20):
        crop = transform(image, (0, 0, index), mask)
        red = crop.image[0] * 255
        sure = crop.valid & ((red - 120).abs() > 4)
        assert torch.equal(crop.mask[sure] == 1, red[sure] > 120)


def test_scale_changes_colours_only_when_asked():
    orange = np.full((40, 40, 3), (200, 130, 60), np.uint8)

    def drawn(jitter):
        transform = Transform(TransformConfig("scale", 20, scale=(1.0, 1.0), color_jitter=jitter))
        return 255 * torch.stack([transform(orange, (0, 0, index)).image[:, 0, 0] for index in range(100)])

    assert (drawn(None) - torch.tensor([200.0, 130.0, 60.0])).abs().max() < 1e-3
    brightness = drawn((0.3, 0.0, 0.0, 0.0))
    assert brightness[:, 1].min() == pytest.approx(130 * 0.7, abs=4)
    assert brightness[:, 1].max() == pytest.approx(130 * 1.3, abs=4)
    assert drawn((0.3, 0.3, 0.3, 0.1)).std(dim=0).min() > 10


def test_resize_keeps_the_whole_image_without_randomness(image):
    transform = Transform(TransformConfig("resize", 40))
    crop = transform(image, (0, 0, 0))
    assert torch.equal(crop.image, transform(image, (9, 9, 9)).image)
    assert crop.valid[:30].all()
    assert not crop.valid[30:].any()
    assert crop.image[0, 0, 0] < 0.02
    assert crop.image[0, 0, -1] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_size": 0}, "crop_size is 0; expected a whole number at least 1"),
        ({"resize_long": (640, 320)}, r"resize_long is \[640, 320\]; expected two positive numbers"),
        ({"scale": (0.0, 1.0)}, r"scale is \[0\.0, 1\.0\]"),
        ({"scale_step": 0.0}, "scale_step is 0.0; expected a number above 0"),
    ],
)
def test_impossible_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TransformConfig(**arguments)


def test_albumentations_does_not_ask_the_network():
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"


def test_squares_and_their_views_are_those_of_mcis():
    """The authors' preprocessing of one image: squashed to 16, mirrored, at 0.75 and at 2."""
    with np.load(paths.GOLDEN / "mcis" / "preprocess.npz", allow_pickle=False) as file:
        arrays = dict(file)
    transform = Transform(TransformConfig("square", int(arrays["input_size"]), self_scales=(0.75, 2.0)))
    views = {"x": transform(arrays["source_rgb"], (0, 0, 0)).image}
    views |= dict(
        zip(("x_flip", "x_075", "x_2"), transform.self_views(arrays["source_rgb"]).values(), strict=True)
    )
    for name, view in views.items():
        np.testing.assert_allclose(((view - MEAN) / STD).numpy(), arrays[name], rtol=0, atol=1e-6)


def test_self_views_need_squares():
    with pytest.raises(ValueError, match=r"self_scales need kind: square; got \(0.75,\) and kind irn"):
        TransformConfig("irn", 16, self_scales=(0.75,))
    assert Transform(TransformConfig("square", 16)).self_views(np.zeros((4, 4, 3), np.uint8)) == {}
