"""PIL's resize on tensors, bit for bit, and seeds that are made of it."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_inference import Average, sample

from wsss_bench import bicubic
from wsss_bench.inference import seed_score_maps, segmentation_probabilities
from wsss_bench.inference_config import InferenceConfig

SIZES = [(37, 50), (50, 37), (64, 64), (1, 1), (3, 71), (94, 125), (120, 7)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.13, 0.5, 0.75, 1.01, 1.25, 1.5, 2.0, 3.7])
def test_tensors_are_resized_as_pillow_does(size, scale):
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    image[: size[0] // 2, : size[1] // 3] = 255  # an edge, beside which the cubic kernel leaves 0..255
    wanted = tuple(max(1, round(length * scale)) for length in size)
    found = bicubic.resize_by_tensors(image, wanted)
    assert found.dtype == torch.uint8
    assert torch.equal(found, bicubic.resize_by_pillow(image, wanted))


@pytest.mark.parametrize("wanted", [(37, 20), (90, 50), (10, 90)])
def test_sides_change_apart(wanted):
    image = torch.from_numpy(sample().image)
    assert torch.equal(bicubic.resize_by_tensors(image, wanted), bicubic.resize_by_pillow(image, wanted))


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5, 2.0])
def test_ordinary_shapes_are_resized_as_pillow_does_in_one_step(scale):
    image = Image.fromarray(sample(75, 100).image)
    width, height = (round(length * scale) for length in image.size)
    found = bicubic.resize(torch.from_numpy(np.array(image)), (height, width))
    np.testing.assert_array_equal(found, np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)))


def test_predictions_do_not_depend_on_where_an_image_is_resized(monkeypatch):
    config = InferenceConfig(short_side=41)
    seeds = seed_score_maps(Average(), [sample()], config)[0]
    masks = segmentation_probabilities(Average(), [sample()], config)[0]
    used = []
    by_tensors = bicubic.resize_by_tensors
    monkeypatch.setattr(bicubic, "resize_by_pillow", lambda *args: used.append(1) or by_tensors(*args))
    np.testing.assert_array_equal(seed_score_maps(Average(), [sample()], config)[0].scores, seeds.scores)
    found = segmentation_probabilities(Average(), [sample()], config)[0]
    assert all(torch.equal(found[scales], masks[scales]) for scales in masks)
    assert len(used) == 7
