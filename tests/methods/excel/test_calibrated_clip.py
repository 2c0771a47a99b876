"""The image tower of ExCEL against the authors' code: streams, attention, and the aliased tokens."""

import golden_excel
import pytest
import torch
from golden_excel import TOLERANCE
from torch.testing import assert_close

from wsss_bench.methods.excel.calibrated_clip import calibration, read
from wsss_bench.methods.excel.feature_affinity import (
    calibration_bias,
    cosines,
    mean_of_batch,
    mean_of_images,
)
from wsss_bench.nn.clip import CLIP

STATIC = golden_excel.tensors("static_calibration")
LEARNED = golden_excel.tensors("learnable_calibration")
IMAGES = golden_excel.tensors("tower")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = golden_excel.write_tower(tmp_path_factory.mktemp("clip"), "tower")
    return CLIP(str(folder)).requires_grad_(False)


@pytest.fixture(scope="module", params=["square", "large"])
def size(request):
    return request.param


def first_or_all(name):
    """Some arrays of the large images are there for the first image only."""
    return STATIC[name], STATIC[name].shape[1]


def test_features_are_the_published_ones(clip, size):
    reading = read(clip, IMAGES[f"image_{size}"], 5, 6)
    assert_close(clip.embed_tokens(reading.calibrated), STATIC[f"features_{size}"], **TOLERANCE)


def test_the_adapter_gets_the_aliased_tokens_of_the_published_network(clip, size):
    reading = read(clip, IMAGES[f"image_{size}"], 5, 6, "published")
    expected, images = first_or_all(f"all_feats_{size}")
    assert_close(torch.stack(reading.tokens)[:, :images], expected, **TOLERANCE)


def test_clean_tokens_are_the_outputs_of_the_blocks(clip):
    reading = read(clip, IMAGES["image_square"], 5, 6, "clean")
    assert_close(torch.stack(reading.tokens), STATIC["block_outputs_square"], **TOLERANCE)


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5])
def test_the_calibrated_stream_after_each_block(clip, blocks):
    """The published network calibrates five; patches of the stream after the first ones, by an early stop."""
    arrays = STATIC["calibrated_stream_square"]
    streams = []
    stop = clip.model.vision_model.encoder.layers[2 + blocks :]
    try:
        clip.model.vision_model.encoder.layers = clip.model.vision_model.encoder.layers[: 2 + blocks]
        clip.num_blocks = 2 + blocks
        streams = read(clip, IMAGES["image_square"], blocks, 1).calibrated[:, 1:]
    finally:
        clip.model.vision_model.encoder.layers.extend(stop)
        clip.num_blocks = 7
    assert_close(streams, arrays[blocks - 1][:, 1:], **TOLERANCE)


def test_attention_is_a_mean_of_ordinary_heads_and_a_sum_of_calibrated_ones(clip, size):
    expected, images = first_or_all(f"attn_{size}")
    for blocks in (6, 7, 2):
        reading = read(clip, IMAGES[f"image_{size}"], 5, blocks)
        assert_close(reading.attention[:, :images], expected[-blocks:, :, 1:, 1:], **TOLERANCE)


def test_learnable_calibration_is_that_of_a_second_pass(clip, size):
    reading = read(clip, IMAGES[f"image_{size}"], 5, 6)
    similarity = cosines(LEARNED[f"ex_feats_{size}"].flatten(2).mT)
    bias = calibration_bias(similarity, mean_of_batch(similarity))
    features = clip.embed_tokens(reading.with_bias(bias))
    assert_close(features, LEARNED[f"features_{size}"], **TOLERANCE)
    alone = calibration_bias(similarity, mean_of_images(similarity))
    features = clip.embed_tokens(reading.with_bias(alone))[:1]
    assert_close(features, LEARNED[f"features_{size}_first_alone"], **TOLERANCE)


def test_rows_of_the_calibration_add_up_to_the_number_of_heads():
    torch.manual_seed(0)
    heads = tuple(torch.randn(2, 3, 5, 4) for _ in range(3))
    assert_close(calibration(heads).sum(dim=2), torch.full((2, 5), 3.0))


def test_groups_of_heads_give_what_all_heads_give(monkeypatch):
    torch.manual_seed(0)
    heads = tuple(torch.randn(2, 3, 5, 4) for _ in range(3))
    whole = calibration(heads)
    monkeypatch.setattr("wsss_bench.methods.excel.calibrated_clip.ATTENTION_BYTES", 1)
    assert_close(calibration(heads), whole)


def test_without_calibrated_blocks_it_is_an_ordinary_clip(clip):
    image = IMAGES["image_large"]
    *_, last = clip.block_outputs(image, positions="bilinear")
    for tokens in ("published", "clean"):
        reading = read(clip, image, 0, 3, tokens)
        assert_close(reading.calibrated, last.tokens)
        assert_close(reading.tokens[-1], last.tokens)
        assert len(reading.tokens) == 7
        assert not reading.moved_by_bias.any()


def test_images_that_are_not_square_have_their_grid(clip):
    reading = read(clip, torch.randn(1, 3, 12, 20), 5, 6)
    assert reading.calibrated.shape == (1, 16, 24)
    assert reading.attention.shape == (6, 1, 15, 15)
    assert torch.isfinite(reading.calibrated).all()
