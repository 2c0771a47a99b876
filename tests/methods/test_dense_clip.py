"""Readings of CLIP's last block against the arrays of NACLIP and ClearCLIP, and their corner cases."""

from __future__ import annotations

from pathlib import Path

import paths
import pytest
import torch
from golden_clip import tensors, write_dense_clip
from torch.testing import assert_close

from wsss_bench.methods.clip_zeroshot import dense_clip
from wsss_bench.methods.clip_zeroshot.dense_clip import Reading, dense_features, neighbour_bias, read_block
from wsss_bench.nn.clip import CLIP

READINGS = {
    "naclip_vanilla_vanilla": Reading("qk"),
    "naclip_vanilla_csa": Reading("qq+kk"),
    "naclip_vanilla_kk": Reading("kk"),
    "naclip_vanilla_naclip_std5": Reading("kk+neighbours", neighbour_std=5),
    "naclip_reduced_vanilla": Reading("qk", False, False),
    "naclip_reduced_kk": Reading("kk", False, False),
    "naclip_reduced_naclip_std5": Reading("kk+neighbours", False, False, 5),
    "naclip_reduced_naclip_std1.5": Reading("kk+neighbours", False, False, 1.5),
    "clearclip_residual_MaskCLIP": Reading(),
    "clearclip_reduced_MaskCLIP": Reading("self", False, False),
    "clearclip_residual_SCLIP": Reading("qq+kk"),
    "clearclip_reduced_SCLIP": Reading("qq+kk", False, False),
    "clearclip_residual_ClearCLIP": Reading("qq"),
    "clearclip_reduced_ClearCLIP": Reading("qq", False, False),
    "clearclip_residual_vanilla": Reading("qk"),
    "clearclip_reduced_vanilla": Reading("qk", False, False),
}
GRIDS = {"square": (4, 4), "wide": (5, 8)}


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return tensors("dense_attention", paths.GOLDEN / "dense_clip")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> CLIP:
    folder: Path = tmp_path_factory.mktemp("clip")
    return CLIP(str(write_dense_clip(folder))).requires_grad_(False)


def last_block(clip: CLIP):
    return clip.model.vision_model.encoder.layers[-1]


def test_the_arrays_hold_no_other_reading(golden):
    named = {name.rsplit("_", 1)[0] for name in golden if name.startswith(("naclip", "clearclip"))}
    assert named == set(READINGS)


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("name", READINGS)
def test_every_token_is_that_of_the_authors(clip, golden, name, shape):
    tokens = read_block(last_block(clip), golden[f"tokens_before_last_{shape}"], GRIDS[shape], READINGS[name])
    assert_close(clip.embed_tokens(tokens), golden[f"{name}_{shape}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", READINGS)
def test_dense_features_are_the_unit_patches_of_an_image(clip, golden, name):
    expected = torch.nn.functional.normalize(golden[f"{name}_square"][:, 1:], dim=-1)
    dense = dense_features(clip, golden["image_square"], READINGS[name])
    assert_close(dense, expected.mT.unflatten(2, (4, 4)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", GRIDS)
def test_the_neighbour_bias_is_that_of_the_authors(golden, shape):
    rows = torch.arange(1 + GRIDS[shape][0] * GRIDS[shape][1])
    bias = neighbour_bias(rows, GRIDS[shape], 5)
    assert_close(bias, golden[f"gaussian_addition_std5_{shape}"], rtol=0, atol=1e-6)


def test_the_default_is_the_self_only_block_bit_for_bit(clip):
    image = torch.rand(2, 3, 40, 64)
    assert torch.equal(dense_features(clip, image, Reading()), clip.dense(image))


def test_neighbours_at_any_distance_are_key_key_attention_but_for_the_class_token(clip, golden):
    tokens, grid, block = golden["tokens_before_last_wide"], GRIDS["wide"], last_block(clip)
    far = read_block(block, tokens, grid, Reading("kk+neighbours", False, False, 1e6))
    plain = read_block(block, tokens, grid, Reading("kk", False, False))
    assert_close(far[:, 0], plain[:, 0])  # its row has no bias
    # patches: the class token weighs 1 / e of what it weighs without the bias
    assert 0 < (far - plain)[:, 1:].abs().max() < 0.2 * plain.abs().max()


def test_queries_in_groups_give_the_same_tokens(clip, golden, monkeypatch):
    tokens, reading = golden["tokens_before_last_wide"], Reading("kk+neighbours", False, False, 1.5)
    whole = read_block(last_block(clip), tokens, GRIDS["wide"], reading)
    monkeypatch.setattr(dense_clip, "BIAS_BYTES", 4 * 41 * 6)  # six of 41 queries
    sizes = []
    bias = dense_clip.neighbour_bias
    monkeypatch.setattr(
        dense_clip, "neighbour_bias", lambda rows, *rest: sizes.append(len(rows)) or bias(rows, *rest)
    )
    assert_close(read_block(last_block(clip), tokens, GRIDS["wide"], reading), whole)
    assert sizes == [6] * 6 + [5]


@pytest.mark.parametrize("name", READINGS)
def test_no_image_one_patch_and_half_precision(clip, name):
    assert dense_features(clip, torch.rand(0, 3, 32, 32), READINGS[name]).shape == (0, 24, 4, 4)
    image = torch.rand(1, 3, 8, 8)
    dense = dense_features(clip, image, READINGS[name])
    with torch.autocast("cpu", torch.bfloat16):
        half = dense_features(clip, image, READINGS[name])
    assert dense.shape == half.shape == (1, 24, 1, 1)
    assert_close(half.float(), dense, rtol=0, atol=0.05)


def test_an_image_smaller_than_a_patch_is_refused(clip):
    with pytest.raises(ValueError, match="image of 7x8 pixels does not divide into patches of 8"):
        dense_features(clip, torch.rand(1, 3, 7, 8), Reading("kk"))


@pytest.mark.parametrize(
    ("attention", "std", "message"),
    [
        ("kk", 5.0, "neighbour_std is 5.0 with attention kk; .* give both or none"),
        ("kk+neighbours", None, r"neighbour_std is None with attention kk\+neighbours"),
        ("kk+neighbours", 0.0, "neighbour_std is 0.0; expected a number above 0"),
    ],
)
def test_a_neighbourhood_that_cannot_be_used_is_refused(attention, std, message):
    with pytest.raises(ValueError, match=message):
        Reading(attention, neighbour_std=std)
