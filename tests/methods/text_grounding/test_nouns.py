"""Noun extraction from captions."""

import json
import sys
from types import SimpleNamespace

import pytest
from golden_clip import golden

from wsss_bench.methods.text_grounding.nouns import (
    VocabularyNouns,
    drop_symbols,
    noun_extractor,
    plural,
    unique,
)
from wsss_bench.mini.world import captions


def test_a_vocabulary_finds_capitals_plurals_and_compound_nouns():
    nouns = VocabularyNouns(["dog", "bus", "air", "balloon", "hot air balloon", "pony"])
    assert nouns("Dogs and a dog by two buses") == ["Dogs", "buses", "dog"]
    assert nouns("a Hot Air Balloon in the air") == ["Hot Air Balloon", "air"]
    assert nouns("Dog, dog and DOG") == ["Dog"]  # one noun, in its first spelling
    assert nouns("three ponies; a doghouse, airs.") == ["airs", "ponies"]
    assert nouns("") == []
    assert nouns("nothing of the kind") == []


def test_an_empty_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocabulary of nouns is empty"):
        VocabularyNouns([])
    with pytest.raises(ValueError, match="no vocabulary 'atlantis'; known"):
        noun_extractor("atlantis")
    with pytest.raises(ValueError, match="'voc' lists no nouns; add the key `nouns`"):
        noun_extractor("voc")


def test_the_vocabulary_of_the_mini_world_has_every_noun_of_its_captions():
    nouns = noun_extractor("mini")
    for words in (captions.SYNONYMS.keys(), captions.SYNONYMS.values()):
        for word in words:
            assert nouns(f"a photo of {word}.") == [word]
            counted = captions.plural(word)
            if counted not in ("railss", "grasss", "skys", "beachs"):  # materials are never counted
                assert nouns(f"some {counted}") == [counted]


def test_plurals():
    assert [plural(word) for word in ("dog", "bus", "coach", "sky", "toy")] == [
        "dogs",
        "buses",
        "coaches",
        "skies",
        "toys",
    ]


def test_symbols_are_dropped_as_in_the_official_code():
    arrays = golden("noun_pseudo_labels")
    words = json.loads(str(arrays["remove_not_noun_in"]))
    assert set(drop_symbols(words)) == set(json.loads(str(arrays["remove_not_noun_out"])))


def test_order_does_not_depend_on_the_hash_seed():
    assert unique(["b", "a", "C", "c", "b"]) == ["C", "a", "b"]


def test_tagged_nouns_are_kept(monkeypatch):
    tags = {
        "a": "DT",
        "<": "NN",
        "PERSON": "NNP",
        ">": "NN",
        "train": "VB",
        "trains": "NNS",
        "dog": "NN",
        "z": "NN",
    }
    fake = SimpleNamespace(
        word_tokenize=str.split, pos_tag=lambda words: [(word, tags.get(word, "IN")) for word in words]
    )
    monkeypatch.setitem(sys.modules, "nltk", fake)
    assert noun_extractor("nltk")("a < PERSON > train trains dog z") == ["PERSON", "dog", "trains"]


def test_a_missing_tagger_or_model_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(ImportError, match=r"needs the package nltk; install `wsss_bench\[nouns\]`"):
        noun_extractor("nltk")

    def missing(_):
        raise LookupError("Resource punkt_tab not found.")

    monkeypatch.setitem(sys.modules, "nltk", SimpleNamespace(word_tokenize=missing, pos_tag=missing))
    with pytest.raises(
        LookupError, match=r"python -m nltk.downloader punkt_tab averaged_perceptron_tagger_eng"
    ):
        noun_extractor("nltk")
