"""CLIP against arrays of the official CoDe code, and its corner cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_clip import END, GOLDEN, START, word, write_golden_clip
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "tiny_clip.npz"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> CLIP:
    return CLIP(str(write_golden_clip(tmp_path_factory.mktemp("clip")))).requires_grad_(False)


def _patches(dense: np.ndarray, h: int, w: int) -> Tensor:
    """(B, 1 + h * w, D) golden tokens -> (B, D, h, w) unit vectors without the class token."""
    return F.normalize(torch.from_numpy(dense)[:, 1:], dim=-1).transpose(1, 2).unflatten(2, (h, w))


def test_attributes(clip: CLIP) -> None:
    assert (clip.patch_size, clip.image_size, clip.embed_dim) == (8, 32, 32)


def test_class_token_is_the_official_one(clip: CLIP, golden: dict[str, np.ndarray]) -> None:
    expected = F.normalize(torch.from_numpy(golden["cls_emb"]), dim=-1)
    torch.testing.assert_close(
        clip.encode_image(torch.from_numpy(golden["image"])), expected, rtol=1e-4, atol=1e-5
    )


def test_dense_is_the_official_self_only_attention(clip: CLIP, golden: dict[str, np.ndarray]) -> None:
    dense = clip.dense(torch.from_numpy(golden["image"]))
    expected = _patches(golden["dense_self_only_last_block"], 4, 4)
    torch.testing.assert_close(dense, expected, rtol=1e-4, atol=1e-5)
    ordinary = _patches(golden["dense_full_attn"], 4, 4)
    assert (dense - ordinary).abs().max() > 0.01  # clearly different from ordinary attention


def test_dense_on_another_shape_interpolates_positions(clip: CLIP, golden: dict[str, np.ndarray]) -> None:
    image = torch.from_numpy(golden["image_nonsquare"])  # (1, 3, 32, 48)
    positions = clip.model.vision_model.embeddings.interpolate_pos_encoding(torch.zeros(1, 25, 64), 32, 48)
    torch.testing.assert_close(
        positions[0], torch.from_numpy(golden["pos_emb_interp_4x6"]), rtol=1e-4, atol=1e-5
    )
    expected = _patches(golden["dense_self_only_nonsquare"], 4, 6)
    torch.testing.assert_close(clip.dense(image), expected, rtol=1e-4, atol=1e-5)


def test_dense_does_not_change_later_class_tokens(clip: CLIP, golden: dict[str, np.ndarray]) -> None:
    image = torch.from_numpy(golden["image"])
    before = clip.encode_image(image)
    clip.dense(image)
    after = clip.encode_image(image)
    assert torch.equal(after, before)
    expected = F.normalize(torch.from_numpy(golden["cls_emb_after_maskclip_call"]), dim=-1)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)


def test_positions_at_the_native_size_are_the_table(clip: CLIP) -> None:
    image = torch.randn(2, 3, 32, 32)
    vision = clip.model.vision_model
    plain = vision.pre_layrnorm(vision.embeddings(image))
    assert torch.equal(clip.embed_patches(image), plain)


def test_text_is_the_official_one(clip: CLIP, golden: dict[str, np.ndarray]) -> None:
    ids = [[int(i) for i in row if i not in (0, START, END)] for row in golden["text_tokens"]]
    sentences = [" ".join(map(word, row)) for row in ids]
    expected = F.normalize(torch.from_numpy(golden["text_emb"]), dim=-1)
    torch.testing.assert_close(clip.encode_text(sentences), expected, rtol=1e-4, atol=1e-5)
    # a sentence alone, without padding, has the same embedding
    torch.testing.assert_close(clip.encode_text(sentences[1:])[0], expected[1], rtol=1e-4, atol=1e-5)


def test_a_sentence_longer_than_the_model_is_cut(clip: CLIP) -> None:
    long = clip.encode_text([" ".join([word(320)] * 200)])
    torch.testing.assert_close(long, clip.encode_text([" ".join([word(320)] * 75)]))


def test_normalize_uses_the_statistics_of_the_folder(clip: CLIP) -> None:
    image = torch.tensor([0.7, 0.4, 0.8]).view(1, 3, 1, 1)
    expected = torch.tensor([1.0, 0.0, 1.0])
    torch.testing.assert_close(clip.normalize(image).flatten(), expected)


def test_an_image_size_that_is_no_multiple_of_the_patch_size_is_refused(clip: CLIP) -> None:
    with pytest.raises(ValueError, match=r"30x33 pixels.*patches of 8.*32x40"):
        clip.dense(torch.zeros(1, 3, 30, 33))


def test_gradients_reach_image_and_weights(clip: CLIP) -> None:
    image = torch.randn(1, 3, 32, 32, requires_grad=True)
    clip.dense(image)[:, 0].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0  # frozen weights still pass gradients on
    clip.requires_grad_(True)
    try:
        clip.dense(image.detach())[:, 0].sum().backward()
        last = clip.model.vision_model.encoder.layers[-1].self_attn
        assert last.v_proj.weight.grad.abs().sum() > 0
        assert last.q_proj.weight.grad is None  # self-only attention uses no query or key
    finally:
        clip.zero_grad()
        clip.requires_grad_(False)
