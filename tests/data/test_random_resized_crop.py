"""Crops that fill the frame (CoDe, TCL), and timm's RandAugment and random erasing after them (TCL)."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from paths import CONFIGS
from PIL import Image
from torchvision.transforms import functional as torchvision

from wsss_bench.data.transforms import Transform, TransformConfig
from wsss_bench.plan.reader import read_configs
from wsss_bench.types import IMAGENET_MEAN, IMAGENET_STD

CODE = TransformConfig("random_resized_crop", 32, area=(0.9, 1.0))
TCL = replace(CODE, area=(0.08, 1.0), rand_augment="rand-m9-mstd0.5-inc1", random_erasing=0.25)


def ramp(height, width):
    """Red tells the column of a pixel, green its row."""
    rows, columns = np.mgrid[0:height, 0:width]
    blue = np.full_like(rows, 100)
    return np.stack([255 * columns / (width - 1), 255 * rows / (height - 1), blue], axis=-1).astype(np.uint8)


def box_of(crop, height, width):
    """Height and width of the box of a ramp that a crop shows, read off the slope of its inner pixels."""
    side = crop.image.shape[-1]
    inner = slice(4, side - 4, side - 9)
    (left, right), (top, bottom) = crop.image[0, side // 2, inner], crop.image[1, inner, side // 2]
    stretch = side / (side - 9)
    return abs(bottom - top).item() * (height - 1) * stretch, abs(right - left).item() * (width - 1) * stretch


@pytest.mark.parametrize(
    ("size", "share", "aspect"),
    [
        ((500, 500), 0.942, 1.0),
        ((480, 640), 0.958, 1.31),
        ((400, 600), 0.888, 1.33),
        ((360, 640), 0.75, 1.33),
    ],
)
def test_share_and_aspect_of_the_boxes_of_code_are_the_official_ones(size, share, aspect):
    height, width = size
    image, transform = ramp(*size), Transform(CODE)
    boxes = np.array([box_of(transform(image, (0, 0, k)), *size) for k in range(120)])
    shares = boxes.prod(axis=1) / (height * width)
    assert shares.mean() == pytest.approx(share, abs=0.01)
    assert (boxes[:, 1] / boxes[:, 0]).mean() == pytest.approx(aspect, abs=0.02)
    assert shares.max() < 1.02
    if width / height > 1.48:  # no box with .9 of the area is narrow enough: always the central one
        assert shares.std() < 1e-3


@pytest.mark.parametrize(("size", "share"), [((500, 500), 0.48), ((480, 640), 0.43), ((360, 640), 0.34)])
def test_tcl_shows_a_third_to_a_half_of_a_picture(size, share):
    image, transform = ramp(*size), Transform(replace(CODE, area=(0.08, 1.0)))
    boxes = [box_of(transform(image, (0, 1, k)), *size) for k in range(150)]
    shares = np.prod(boxes, axis=1) / np.prod(size)
    assert shares.mean() == pytest.approx(share, abs=0.05)
    assert shares.min() < 0.15
    assert shares.max() > 0.65


@pytest.mark.parametrize(
    ("size", "box"),  # top, left, height, width
    [((40, 100), (0, 23, 40, 53)), ((101, 40), (24, 0, 53, 40)), ((7, 60), (0, 25, 7, 9))],
)
def test_if_no_box_fits_it_is_the_central_one_with_the_pixels_of_torchvision(size, box):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    crop = Transform(CODE)(image, (0, 0, 0)).image
    expected = torchvision.resized_crop(Image.fromarray(image), *box, [32, 32])
    expected = torchvision.to_tensor(expected)
    assert torch.equal(crop, expected) or torch.equal(crop.flip(2), expected)


@pytest.mark.parametrize("size", [(500, 333), (1, 1), (1, 90), (90, 1), (13, 17), (375, 500)])
@pytest.mark.parametrize("config", [CODE, TCL])
def test_the_crop_is_filled_for_every_size(size, config):
    image = np.full((*size, 3), 200, np.uint8)
    for key in range(3):
        crop = Transform(config)(image, (0, 0, key))
        assert crop.image.shape == (3, 32, 32)
        assert crop.valid.all()
        if config is CODE:
            assert torch.equal(crop.image, torch.full((3, 32, 32), 200 / 255))


def test_image_and_mask_move_together_and_both_flips_are_drawn():
    image = ramp(60, 80)
    mask = np.where(image[..., 0] >= 128, 3, 255).astype(np.uint8)
    transform, flips = Transform(replace(CODE, area=(0.3, 0.8))), []
    for key in range(40):
        crop = transform(image, (0, 0, key), mask)
        assert set(crop.mask.unique().tolist()) <= {3, 255}
        red = crop.image[0] * 255
        sure = (red - 128).abs() > 8
        assert torch.equal(crop.mask[sure] == 3, red[sure] > 128)
        flips.append(bool(red[0, 0] > red[0, -1]))
    assert 10 < sum(flips) < 30


def test_an_image_of_tcl_depends_on_its_key_only_and_no_other_random_number_does_on_it():
    image = ramp(60, 80)
    transform = Transform(TCL)
    first = [transform(image, (3, 1, key)).image for key in range(12)]
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    again = [Transform(TCL)(image, (3, 1, key)).image for key in reversed(range(12))]
    assert all(torch.equal(*pair) for pair in zip(first, reversed(again), strict=True))
    assert not torch.equal(first[0], first[1])
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    assert torch.initial_seed() == 1


def test_rand_augment_changes_colours_and_moves_pictures():
    image = np.random.default_rng(0).integers(60, 200, (6, 6, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    plain = Transform(replace(TCL, rand_augment=None, random_erasing=0.0))
    moved = Transform(replace(TCL, random_erasing=0.0))
    pairs = [(plain(image, (0, 0, key)).image, moved(image, (0, 0, key)).image) for key in range(200)]
    unchanged = np.mean([torch.equal(*pair) for pair in pairs])
    assert 0.2 < unchanged < 0.45  # two operations, each applied to one half of the images
    uncovered = torch.tensor([round(255 * channel) for channel in IMAGENET_MEAN]).view(3, 1) / 255
    filled = [(pair[1].flatten(1) == uncovered).all(dim=0).float().mean().item() for pair in pairs]
    assert 0.1 < np.mean(np.array(filled) > 0.02) < 0.5  # five of fifteen operations move the picture


@pytest.mark.parametrize("policy", ["rand-m10-n15-p1-inc1", "rand-m0-n15-p1", "rand-m30-mmax30-n15-p1-inc1"])
def test_every_operation_is_possible_at_every_magnitude(policy):
    transform = Transform(replace(TCL, rand_augment=policy))  # 10 can be drawn where the mean is 9
    for key in range(8):
        assert transform(ramp(16, 16), (0, 0, key)).image.shape == (3, 32, 32)


def test_a_quarter_of_the_images_of_tcl_has_a_rectangle_of_normal_noise():
    transform = Transform(replace(TCL, rand_augment=None))
    grey = np.full((40, 40, 3), 128, np.uint8)
    shares, values = [], []
    for key in range(300):
        erased = (transform(grey, (0, 0, key)).image - 128 / 255).abs().amax(dim=0) > 1e-6
        if erased.any():
            rows, columns = erased.any(dim=1).sum(), erased.any(dim=0).sum()
            assert erased.sum() == rows * columns
            assert 0.25 < rows / columns < 4
            shares.append(erased.float().mean().item())
            mean, std = (torch.tensor(v).view(3, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
            values.append((transform(grey, (0, 0, key)).image[:, erased] - mean) / std)
    assert len(shares) / 300 == pytest.approx(0.25, abs=0.08)
    assert 0.015 < min(shares) < 0.08
    assert 0.25 < max(shares) < 0.35
    noise = torch.cat([value.flatten() for value in values])
    assert noise.mean().abs() < 0.02
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert not ((noise - noise.round()).abs() < 1e-6).all()


def test_rand_augment_is_refused_with_masks():
    with pytest.raises(ValueError, match=r"transform\.rand_augment moves images without their masks"):
        Transform(TCL)(ramp(40, 40), (0, 0, 0), np.zeros((40, 40), np.uint8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"area": (0.0, 1.0)}, r"area is \[0\.0, 1\.0\]; expected two shares of the image in \(0, 1\]"),
        ({"area": (0.5, 1.1)}, r"area is \[0\.5, 1\.1\]"),
        ({"area": (0.9, 0.5)}, r"area is \[0\.9, 0\.5\]"),
        ({"area": (float("nan"), 1.0)}, r"area is \[nan, 1\.0\]"),
        ({"rand_augment": "m9"}, "rand_augment is 'm9'; expected timm's notation, for instance rand-m9"),
        ({"rand_augment": "rand-x9"}, "rand_augment is 'rand-x9'"),
        ({"rand_augment": "rand-mstd.5"}, r"rand_augment is 'rand-mstd\.5'"),
        ({"random_erasing": 1.5}, r"random_erasing is 1\.5; expected a probability in \[0, 1\]"),
        ({"random_erasing": float("nan")}, "random_erasing is nan"),
        ({"kind": "irn", "rand_augment": "rand-m9"}, "need kind: random_resized_crop; got kind irn"),
        ({"kind": "irn", "random_erasing": 0.25}, "need kind: random_resized_crop; got kind irn"),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CODE, **changes)


@pytest.mark.parametrize("method", ["tcl", "codecomp"])
def test_both_methods_have_the_same_crops_on_the_mini_world(method):
    # the file of the mini world is laid over the published one, key by key
    settings = read_configs(CONFIGS).method(method, "mini", {}).data["transform"]
    assert TransformConfig(**settings) == TransformConfig("random_resized_crop", 96, area=[0.9, 1.0])


def test_published_settings_are_those_of_the_authors():
    def settings(method):
        return TransformConfig(
            **yaml.safe_load((CONFIGS / "methods" / f"{method}.yaml").read_text())["data"]["transform"]
        )

    assert settings("codecomp") == TransformConfig("random_resized_crop", 224, area=[0.9, 1.0])
    assert settings("tcl") == TransformConfig(
        "random_resized_crop", 224, area=[0.08, 1.0], rand_augment="rand-m9-mstd0.5-inc1", random_erasing=0.25
    )
