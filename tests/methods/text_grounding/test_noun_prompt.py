"""CoDe's noun prompt against arrays of the official code."""

import pytest
import torch
from golden_clip import golden, tensors, word, words, write_golden_clip

from wsss_bench.methods.text_grounding.noun_prompt import NounPrompt
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import tokenize

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return CLIP(str(write_golden_clip(tmp_path_factory.mktemp("clip")))).requires_grad_(False)


def test_noun_prompt_is_the_official_one(clip):
    arrays = tensors("prompter")
    prompt = NounPrompt(clip, words(320, 1125, 539), length=16, filler=word(343))
    torch.testing.assert_close(prompt.context.data, arrays["ctx_init"], **CLOSE)
    nouns = [words(1929), words(2069, 1922, 13634)]
    ids = torch.from_numpy(golden("tiny_clip")["token_ids_saved"])[tokenize(clip, nouns, 61).ids[:, 1:]]
    assert torch.equal(ids, arrays["tokens_61_without_sos"])
    embedded, eos, _ = prompt.embed(clip, nouns)
    assert eos.tolist() == [18, 20] == arrays["eos_idx"].tolist()
    torch.testing.assert_close(embedded[:, :1], arrays["prefix"].expand(2, -1, -1), **CLOSE)
    torch.testing.assert_close(embedded, arrays["prompts"], **CLOSE)
    torch.testing.assert_close(prompt(clip, nouns), arrays["emb_normalized"], **CLOSE)
    assert [n for n, _ in prompt.named_parameters()] == ["context"]


def test_a_context_that_does_not_fit_is_refused(clip):
    with pytest.raises(ValueError, match=r"has 3 tokens .*expected at most context_length=2"):
        NounPrompt(clip, words(320, 1125, 539), length=2)
    with pytest.raises(ValueError, match="room for a noun in 77 tokens"):
        NounPrompt(clip, words(320), length=75)
