"""Prompt ensemble of class names, and the check of their words."""

import pytest
import torch
from torch.nn import functional as F

from wsss_bench.nn.class_prompts import prompt_ensemble, require_known_words
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import embed_tokens, sentence_embedding, tokenize


@pytest.fixture(scope="module")
def clip():
    return CLIP("package:mini/clip").requires_grad_(False)


@pytest.mark.parametrize("templates", [("a photo of a {}",), ("a {}", "a photo of the {} on grass")])
def test_ensemble_is_the_unit_mean_of_unit_sentence_embeddings(clip, templates):
    names = ("cow", "bus", "bird")
    tokens = tokenize(clip, [template.format(name) for name in names for template in templates])
    sentences = sentence_embedding(clip, embed_tokens(clip, tokens.ids), tokens.eos, tokens.longest)
    expected = F.normalize(sentences.unflatten(0, (3, len(templates))).mean(dim=1), dim=-1)
    torch.testing.assert_close(prompt_ensemble(clip, names, templates), expected, rtol=1e-5, atol=1e-6)


def test_ensemble_of_sentences_that_are_not_unit(clip):
    sentences = clip.embed_text(["a cow", "a photo of the cow on grass"])
    assert (sentences.norm(dim=1) - 1).abs().min() > 0.1
    torch.testing.assert_close(
        F.normalize(sentences, dim=1), clip.encode_text(["a cow", "a photo of the cow on grass"])
    )
    found = prompt_ensemble(clip, ["cow"], ("a {}", "a photo of the {} on grass"), unit_sentences=False)
    torch.testing.assert_close(found, F.normalize(sentences.mean(dim=0, keepdim=True), dim=1))


def test_without_names_there_are_no_embeddings(clip):
    assert prompt_ensemble(clip, (), ("a {}",)).shape == (0, 64)


def test_names_without_a_known_word_are_refused(clip):
    require_known_words(clip, ["cow", "a zebra"])
    with pytest.raises(ValueError, match="knows no word of the class names 'zebra', ' '; name these classes"):
        require_known_words(clip, ["cow", "zebra", " "])
