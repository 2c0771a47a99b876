"""The text tower in steps, against arrays of the official code."""

import pytest
import torch
from golden_clip import END, START, golden, tensors, words, write_golden_clip
from torch.nn import functional as F

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import (
    embed_tokens,
    has_known_token,
    sentence_embedding,
    text_hidden_states,
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
    assert torch.equal(tokens.eos, arrays["text_eos_idx"])
    embedded = embed_tokens(clip, tokens.ids)
    torch.testing.assert_close(embedded, arrays["text_word_tokens"], **CLOSE)
    first = []
    handle = clip.model.text_model.encoder.layers[0].register_forward_hook(
        lambda *call: first.append(call[2])
    )
    states = text_hidden_states(clip, embedded)  # before the final norm, padding included
    handle.remove()
    torch.testing.assert_close(states.transpose(0, 1), arrays["text_hidden_last_LBC"], **CLOSE)
    torch.testing.assert_close(first[0].transpose(0, 1), arrays["text_hidden_first_LBC"], **CLOSE)
    expected = F.normalize(arrays["text_emb_from_wordemb"], dim=-1)
    torch.testing.assert_close(
        sentence_embedding(clip, embedded, tokens.eos, tokens.longest), expected, **CLOSE
    )
    torch.testing.assert_close(
        sentence_embedding(clip, embedded, tokens.eos, tokens.longest), clip.encode_text(sentences), **CLOSE
    )


def test_a_long_sentence_is_cut_and_keeps_eos(clip):
    tokens = tokenize(clip, [words(*[320] * 200)])
    assert tokens.eos.tolist() == [76]
    assert tokens.ids[0, 76] == tokenize(clip, [""]).ids[0, 1]


def test_without_sentences_there_are_no_embeddings(clip):
    tokens = tokenize(clip, [])
    assert sentence_embedding(clip, embed_tokens(clip, tokens.ids), tokens.eos, tokens.longest).shape == (
        0,
        32,
    )


def test_has_known_token(clip):
    tokens = tokenize(clip, ["", " ", words(1929)])
    assert [has_known_token(clip, tokens.word_ids(row)) for row in range(3)] == [False, False, True]


def test_sentence_embeddings_are_the_official_ones(clip):
    sentences = [
        words(320, 1125, 539, 320, 1929, 269),
        words(320, 2103, 1125, 539, 320, 2069, 1922, 13634, 269),
    ]
    arrays = tensors("prompter")
    tokens = tokenize(clip, sentences)
    found = sentence_embedding(clip, embed_tokens(clip, tokens.ids), tokens.eos, tokens.longest)
    torch.testing.assert_close(found, arrays["sentence_emb_normalized"], **CLOSE)
    assert torch.equal(tokens.eos[:1], arrays["sentence_eos_idx"])
