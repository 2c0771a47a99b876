"""The text tower in steps, and the noun prompt, against arrays of the official code."""

import pytest
import torch
from golden_clip import END, START, golden, tensors, word, words, write_golden_clip
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import (
    NounPrompt,
    embed_words,
    says_nothing,
    sentence_embedding,
    text_states,
    tokenize,
)

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return CLIP(str(write_golden_clip(tmp_path_factory.mktemp("clip")))).requires_grad_(False)


@pytest.fixture(scope="module")
def sentences():
    return [
        words(*(int(t) for t in row if t not in (0, START, END)))
        for row in golden("tiny_clip")["text_tokens"]
    ]


def test_steps_are_the_official_ones(clip, sentences):
    arrays = tensors("tiny_clip")
    tokens = tokenize(clip, sentences)
    assert tokens.ids.shape == (2, 77)
    assert torch.equal(tokens.end, arrays["text_eos_idx"])
    embedded = embed_words(clip, tokens.ids)
    torch.testing.assert_close(embedded, arrays["text_word_tokens"], **CLOSE)
    first = []
    handle = clip.model.text_model.encoder.layers[0].register_forward_hook(
        lambda *call: first.append(call[2])
    )
    states = text_states(clip, embedded)  # before the final norm, padding included
    handle.remove()
    torch.testing.assert_close(states.transpose(0, 1), arrays["text_hidden_last_LBC"], **CLOSE)
    torch.testing.assert_close(first[0].transpose(0, 1), arrays["text_hidden_first_LBC"], **CLOSE)
    expected = F.normalize(arrays["text_emb_from_wordemb"], dim=-1)
    torch.testing.assert_close(sentence_embedding(clip, embedded, tokens.end), expected, **CLOSE)
    torch.testing.assert_close(
        sentence_embedding(clip, embedded, tokens.end), clip.encode_text(sentences), **CLOSE
    )


def test_a_long_sentence_is_cut_and_keeps_its_end(clip):
    tokens = tokenize(clip, [words(*[320] * 200)])
    assert tokens.end.tolist() == [76]
    assert tokens.ids[0, 76] == tokenize(clip, [""]).ids[0, 1]


def test_nothing_is_read_of_no_sentence(clip):
    tokens = tokenize(clip, [])
    assert sentence_embedding(clip, embed_words(clip, tokens.ids), tokens.end).shape == (0, 32)


def test_says_nothing(clip):
    tokens = tokenize(clip, ["", " ", words(1929)])
    assert [says_nothing(clip, tokens.words(row)) for row in range(3)] == [True, True, False]


def test_noun_prompt_is_the_official_one(clip):
    arrays = tensors("prompter")
    prompt = NounPrompt(clip, words(320, 1125, 539), length=16, filler=word(343))
    torch.testing.assert_close(prompt.context.data, arrays["ctx_init"], **CLOSE)
    nouns = [words(1929), words(2069, 1922, 13634)]
    ids = torch.from_numpy(golden("tiny_clip")["token_ids_saved"])[tokenize(clip, nouns, 61).ids[:, 1:]]
    assert torch.equal(ids, arrays["tokens_61_without_sos"])
    embedded, end = prompt.words(clip, nouns)
    assert end.tolist() == [18, 20] == arrays["eos_idx"].tolist()
    torch.testing.assert_close(embedded[:, :1], arrays["prefix"].expand(2, -1, -1), **CLOSE)
    torch.testing.assert_close(embedded, arrays["prompts"], **CLOSE)
    torch.testing.assert_close(prompt(clip, nouns), arrays["emb_normalized"], **CLOSE)
    assert [n for n, _ in prompt.named_parameters()] == ["context"]


def test_sentence_embeddings_are_the_official_ones(clip):
    sentences = [
        words(320, 1125, 539, 320, 1929, 269),
        words(320, 2103, 1125, 539, 320, 2069, 1922, 13634, 269),
    ]
    arrays = tensors("prompter")
    tokens = tokenize(clip, sentences)
    found = sentence_embedding(clip, embed_words(clip, tokens.ids), tokens.end)
    torch.testing.assert_close(found, arrays["sentence_emb_normalized"], **CLOSE)
    assert torch.equal(tokens.end[:1], arrays["sentence_eos_idx"])


def test_a_context_that_does_not_fit_is_refused(clip):
    with pytest.raises(ValueError, match=r"has 3 tokens .*expected at most context_length=2"):
        NounPrompt(clip, words(320, 1125, 539), length=2)
    with pytest.raises(ValueError, match="room for a noun in 77 tokens"):
        NounPrompt(clip, words(320), length=75)
