"""Prompts of CLIMS: complete, in label order, checked against the classes and for nouns that name a class."""

import pytest

from wsss_bench.methods.clims.prompts import Prompts, background_nouns_naming_a_class, clims_prompts
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
    assert (len(prompts.class_prompts), len(prompts.background_prompts)) == (classes, background)
    # the words are in label order: most equal the class names
    same = [word == label for word, label in zip(prompts.classes, load(vocabulary), strict=True)]
    assert sum(same) >= 0.8 * classes


def test_prompts_are_the_published_ones():
    prompts = clims_prompts("voc", load("voc"))
    assert prompts.class_prompts[14:16] == ["a photo of player.", "a photo of potted plant."]
    assert prompts.background_prompts[0] == "a photo of tree."
    assert clims_prompts("camera_ready_voc", load("voc")).class_prompts[14] == "a photo of person"


def test_published_background_nouns_that_name_a_class_are_found():
    found = background_nouns_naming_a_class(clims_prompts("coco", load("coco")), load("coco"))
    people = {noun for noun, name in found if name == "person"}
    assert people == {"men", "child", "officer", "baseball player", "girl", "boy", "woman", "baby"}
    assert {("bat", "baseball bat"), ("tennis ball", "sports ball"), ("street sign", "stop sign")} <= set(
        found
    )
    assert background_nouns_naming_a_class(clims_prompts("voc", load("voc")), load("voc")) == []


@pytest.mark.parametrize("noun", ["Potted Plants", "potted-plant", "pottedplant", "house plant", "buses"])
def test_case_plural_and_spacing_are_ignored(noun):
    prompts = Prompts("a photo of {}", ["potted plant", "bus"], [noun, "glass"])
    assert [found for found, _ in background_nouns_naming_a_class(prompts, ["pottedplant", "bus"])] == [noun]


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
