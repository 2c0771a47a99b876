"""Token streams of CLIP's image tower against `transformers` in eager mode and the arrays of CLIP-ES."""

from __future__ import annotations

from pathlib import Path

import paths
import pytest
import torch
from golden_clip import tensors, write_generated_clip
from torch.testing import assert_close
from transformers import CLIPModel

from wsss_bench.nn import clip_blocks
from wsss_bench.nn.clip import CLIP, resize_bilinearly

GOLDEN = paths.GOLDEN / "clip_es"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generated_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(folder: Path) -> CLIP:
    return CLIP(str(folder)).requires_grad_(False)


@pytest.mark.parametrize("shape", [(112, 112), (96, 128), (16, 64), (384, 512)])
@pytest.mark.parametrize("heads_bytes", [clip_blocks.ATTENTION_BYTES, 1])
def test_tokens_and_attention_are_those_of_transformers(clip, folder, shape, heads_bytes, monkeypatch):
    monkeypatch.setattr(clip_blocks, "ATTENTION_BYTES", heads_bytes)
    eager = CLIPModel.from_pretrained(folder, attn_implementation="eager").eval()
    image = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        asked = {2, 10, 11}
        outputs = list(clip.block_outputs(image, asked))
        expected = eager.vision_model(
            image, interpolate_pos_encoding=True, output_attentions=True, output_hidden_states=True
        )
    assert [number for number, output in enumerate(outputs) if output.attention is not None] == sorted(asked)
    for number, output in enumerate(outputs):
        assert_close(output.tokens, expected.hidden_states[number + 1], rtol=1e-4, atol=2e-5)
        if output.attention is not None:
            assert_close(output.attention, expected.attentions[number].mean(dim=1), rtol=1e-4, atol=1e-6)


def test_attention_weights_are_computed_where_they_are_asked_for_only(clip, monkeypatch):
    called = []
    monkeypatch.setattr(
        "wsss_bench.nn.clip.block_with_attention",
        lambda block, tokens: called.append(block) or (tokens, tokens),
    )
    blocks = clip.model.vision_model.encoder.layers
    assert len(list(clip.block_outputs(torch.zeros(1, 3, 32, 32), range(4, 12), blocks=6))) == 6
    assert called == [blocks[4], blocks[5]]


@pytest.mark.parametrize("name", ["gradcam_square_112", "gradcam_wide_96x128"])
def test_tokens_before_the_last_block(clip, name):
    arrays = tensors(name, GOLDEN)
    image = clip.normalize(arrays["image_uint8"].permute(2, 0, 1)[None] / 255)
    *_, last = clip.block_outputs(image, positions="bilinear_half", blocks=11)
    assert_close(last.tokens[0], arrays["tokens_before_last"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", ["7x7", "6x8", "4x5"])
def test_positions_are_resized_bilinearly(grid):
    arrays = tensors("positions", GOLDEN)
    height, width = map(int, grid.split("x"))
    found = resize_bilinearly(arrays["table"], (height, width))
    if grid != "7x7":
        assert_close(found, arrays[f"positions_{grid}_float"])
    assert torch.equal(found.half().float(), arrays[f"positions_{grid}_half"])


@pytest.mark.parametrize("shape", [(0, 32), (8, 32), (32, 40), (15, 16)])
def test_an_image_that_is_no_whole_number_of_patches_is_refused(clip, shape):
    with pytest.raises(ValueError, match="resize or pad it to"):
        clip.embed_patches(torch.zeros(1, 3, *shape), "bilinear")
