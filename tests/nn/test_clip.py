"""CLIP against arrays of the official CoDe code, and its own promises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from wsss_bench.nn.clip import CLIP

GOLDEN = Path(__file__).parents[1] / "golden" / "code" / "tiny_clip.npz"
START, END = 49406, 49407  # ids of the golden tokenizer


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN))


@pytest.fixture(scope="module")
def clip(golden: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> CLIP:
    """The golden weights as a folder that `from_pretrained` reads. Words are the golden token ids."""
    folder = tmp_path_factory.mktemp("clip")
    saved = [int(token) for token in golden["token_ids_saved"]]
    model = CLIPModel(_config(len(saved), end=saved.index(END), pad=saved.index(0)))
    model.load_state_dict(_from_openai(golden))
    model.save_pretrained(folder)

    words = {_word(token): row for row, token in enumerate(saved)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=_word(0)))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    start, end = _word(START), _word(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, words[start]), (end, words[end])]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=_word(0), bos_token=start, eos_token=end
    ).save_pretrained(folder)
    statistics = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    return CLIP(str(folder)).requires_grad_(False)


def _word(token: int) -> str:
    return f"<{token}>"


def _config(vocabulary: int, end: int, pad: int) -> CLIPConfig:
    text = {
        "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 77, "eos_token_id": end, "pad_token_id": pad,
        "bos_token_id": end - 1,
    }  # fmt: skip
    vision = {
        "image_size": 32, "patch_size": 8, "hidden_size": 64, "intermediate_size": 256,
        "num_hidden_layers": 3, "num_attention_heads": 1,
    }  # fmt: skip
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)


def _from_openai(golden: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """OpenAI's parameter names -> those of `transformers`; one input projection becomes q, k, v."""
    state = {
        "logit_scale": golden["w__logit_scale"],
        "text_projection.weight": golden["w__text_projection"].T,
        "text_model.embeddings.token_embedding.weight": golden["token_embedding_rows"],
        "text_model.embeddings.position_embedding.weight": golden["w__positional_embedding"],
        "vision_model.embeddings.class_embedding": golden["w__visual__class_embedding"],
        "vision_model.embeddings.position_embedding.weight": golden["w__visual__positional_embedding"],
        "vision_model.embeddings.patch_embedding.weight": golden["w__visual__conv1__weight"],
        "visual_projection.weight": golden["w__visual__proj"].T,
    }
    norms = {
        "vision_model.pre_layrnorm": "visual__ln_pre",
        "vision_model.post_layernorm": "visual__ln_post",
        "text_model.final_layer_norm": "ln_final",
    }
    for tower, prefix, layers in (
        ("vision_model", "visual__transformer", 3),
        ("text_model", "transformer", 2),
    ):
        for layer in range(layers):
            mine, theirs = f"{tower}.encoder.layers.{layer}", f"{prefix}__resblocks__{layer}"
            norms |= {f"{mine}.layer_norm{k}": f"{theirs}__ln_{k}" for k in (1, 2)}
            norms |= {f"{mine}.mlp.fc1": f"{theirs}__mlp__c_fc", f"{mine}.mlp.fc2": f"{theirs}__mlp__c_proj"}
            norms[f"{mine}.self_attn.out_proj"] = f"{theirs}__attn__out_proj"
            for kind in ("weight", "bias"):
                parts = np.split(golden[f"w__{theirs}__attn__in_proj_{kind}"], 3)
                for name, part in zip("qkv", parts, strict=True):
                    state[f"{mine}.self_attn.{name}_proj.{kind}"] = part
    for mine, theirs in norms.items():
        state |= {f"{mine}.{kind}": golden[f"w__{theirs}__{kind}"] for kind in ("weight", "bias")}
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}


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


def test_dense_is_the_official_self_only_reading(clip: CLIP, golden: dict[str, np.ndarray]) -> None:
    dense = clip.dense(torch.from_numpy(golden["image"]))
    expected = _patches(golden["dense_self_only_last_block"], 4, 4)
    torch.testing.assert_close(dense, expected, rtol=1e-4, atol=1e-5)
    ordinary = _patches(golden["dense_full_attn"], 4, 4)
    assert (dense - ordinary).abs().max() > 0.01  # the two readings are far apart


def test_dense_on_another_shape_interpolates_positions(clip: CLIP, golden: dict[str, np.ndarray]) -> None:
    image = torch.from_numpy(golden["image_nonsquare"])  # (1, 3, 32, 48)
    positions = clip.model.vision_model.embeddings.interpolate_pos_encoding(torch.zeros(1, 25, 64), 32, 48)
    torch.testing.assert_close(
        positions[0], torch.from_numpy(golden["pos_emb_interp_4x6"]), rtol=1e-4, atol=1e-5
    )
    expected = _patches(golden["dense_self_only_nonsquare"], 4, 6)
    torch.testing.assert_close(clip.dense(image), expected, rtol=1e-4, atol=1e-5)


def test_dense_leaves_no_trace_in_the_class_token(clip: CLIP, golden: dict[str, np.ndarray]) -> None:
    image = torch.from_numpy(golden["image"])
    before = clip.encode_image(image)
    clip.dense(image)
    assert torch.equal(clip.encode_image(image), before)


def test_positions_at_the_native_size_are_the_table(clip: CLIP) -> None:
    image = torch.randn(2, 3, 32, 32)
    vision = clip.model.vision_model
    plain = vision.pre_layrnorm(vision.embeddings(image))
    assert torch.equal(clip.embed_patches(image), plain)


def test_text_is_the_official_one(clip: CLIP, golden: dict[str, np.ndarray]) -> None:
    ids = [[int(i) for i in row if i not in (0, START, END)] for row in golden["text_tokens"]]
    sentences = [" ".join(map(_word, row)) for row in ids]
    expected = F.normalize(torch.from_numpy(golden["text_emb"]), dim=-1)
    torch.testing.assert_close(clip.encode_text(sentences), expected, rtol=1e-4, atol=1e-5)
    # a sentence alone, without padding, means the same
    torch.testing.assert_close(clip.encode_text(sentences[1:])[0], expected[1], rtol=1e-4, atol=1e-5)


def test_a_sentence_longer_than_the_model_is_cut(clip: CLIP) -> None:
    long = clip.encode_text([" ".join([_word(320)] * 200)])
    torch.testing.assert_close(long, clip.encode_text([" ".join([_word(320)] * 75)]))


def test_normalize_uses_the_statistics_of_the_folder(clip: CLIP) -> None:
    image = torch.tensor([0.7, 0.4, 0.8]).view(1, 3, 1, 1)
    expected = torch.tensor([1.0, 0.0, 1.0])
    torch.testing.assert_close(clip.normalize(image).flatten(), expected)


def test_a_size_that_does_not_divide_is_named_with_its_remedy(clip: CLIP) -> None:
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
        assert last.q_proj.weight.grad is None  # a token that sees itself alone asks nobody
    finally:
        clip.zero_grad()
        clip.requires_grad_(False)
