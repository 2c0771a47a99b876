"""Prompts of CLIMS: whole, in label order, refused where they do not fit, and warned about where they say a class."""

import pytest

from wsss_bench.methods.clims.prompts import Prompts, clims_prompts, suspicious_background
from wsss_bench.vocabulary import load


@pytest.mark.parametrize(
    ("name", "vocabulary", "classes", "background"),
    [
        ("voc", "voc", 20, 10),
        ("coco", "coco", 80, 88),
        ("mini", "mini", 8, 6),
        ("camera_ready_voc", "voc", 20, 9),
        ("camera_ready_mini", "mini", 8, 3),
    ],
)
def test_sets_have_a_word_for_every_class(name, vocabulary, classes, background):
    prompts = clims_prompts(name, load(vocabulary))
    assert (len(prompts.class_sentences), len(prompts.background_sentences)) == (classes, background)
    # the words stand in label order: most are the names themselves
    same = [word == label for word, label in zip(prompts.classes, load(vocabulary), strict=True)]
    assert sum(same) >= 0.8 * classes


def test_sentences_are_the_published_ones():
    prompts = clims_prompts("voc", load("voc"))
    assert prompts.class_sentences[14:16] == ["a photo of player.", "a photo of potted plant."]
    assert prompts.background_sentences[0] == "a photo of tree."
    assert clims_prompts("camera_ready_voc", load("voc")).class_sentences[14] == "a photo of person"


def test_published_background_nouns_that_say_a_class_are_found():
    found = suspicious_background(clims_prompts("coco", load("coco")), load("coco"))
    people = {noun for noun, name in found if name == "person"}
    assert people == {"men", "child", "officer", "baseball player", "girl", "boy", "woman", "baby"}
    assert {("bat", "baseball bat"), ("tennis ball", "sports ball"), ("street sign", "stop sign")} <= set(
        found
    )
    assert suspicious_background(clims_prompts("voc", load("voc")), load("voc")) == []


@pytest.mark.parametrize("noun", ["Potted Plants", "potted-plant", "pottedplant", "house plant", "buses"])
def test_case_plural_and_spacing_do_not_hide_a_class(noun):
    prompts = Prompts("a photo of {}", ["potted plant", "bus"], [noun, "glass"])
    assert [found for found, _ in suspicious_background(prompts, ["pottedplant", "bus"])] == [noun]


def test_prompts_that_do_not_fit_the_classes_are_refused():
    prompts = Prompts("a {}", ["cat", "dog", "cow"], ["grass"])
    with pytest.raises(
        ValueError, match=r"prompts.classes has 3 words \(cat, dog, cow\), .* 2 classes \(cat, dog\)"
    ):
        clims_prompts(prompts, ["cat", "dog"])
    with pytest.raises(ValueError, match=r"prompts 'voc' are for the 20 classes .* has 2 \(cat, dog\)"):
        clims_prompts("voc", ["cat", "dog"])
    with pytest.raises(ValueError, match="no prompts 'vok'; known: voc, coco, mini"):
        clims_prompts("vok", ["cat", "dog"])
    with pytest.raises(
        ValueError, match=r"prompts\.background names horse, which the data source does not have"
    ):
        clims_prompts(Prompts("a {}", ["cat", "dog"], {"horse": ["grass"]}), ["cat", "dog"])
    with pytest.raises(ValueError, match=r"prompts\.background is empty"):
        Prompts("a {}", ["cat"], [])
    with pytest.raises(ValueError, match=r"has no \{\} for the word"):
        Prompts("a photo", ["cat"], ["grass"])
