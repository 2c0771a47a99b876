"""Texts of classes and backgrounds: the lists of `class_texts.yaml`."""

import pytest

from wsss_bench.vocabulary import load
from wsss_bench.vocabulary.class_texts import background_texts, class_texts


@pytest.mark.parametrize(
    ("name", "vocabulary"),
    [
        ("voc_plain", "voc"),
        ("voc_clip_es", "voc"),
        ("voc_clims", "voc"),
        ("coco_plain", "coco"),
        ("coco_clip_es", "coco"),
        ("mini", "mini"),
    ],
)
def test_lists_have_a_different_text_for_every_class(name, vocabulary):
    texts = class_texts(name, load(vocabulary), "key")
    assert len(set(texts)) == len(load(vocabulary))


def test_texts_are_in_label_order():
    assert class_texts("voc_clip_es", ["tvmonitor", "bird"], "key") == ["tvmonitor screen", "bird avian"]
    assert class_texts("coco_clip_es", ["snowboard", "tie"], "key") == ["snowboard", "necktie"]


@pytest.mark.parametrize(
    ("name", "count"), [("clip_es_voc", 25), ("clip_es_coco", 23), ("clims_voc", 10), ("mini", 6)]
)
def test_background_lists_are_complete_and_contain_no_class(name, count):
    texts = background_texts(name)
    assert len(set(texts)) == count
    assert not set(texts) & set(load(name.split("_")[-1]))


def test_unknown_lists_and_classes_are_named_in_the_error():
    with pytest.raises(ValueError, match=r"lack the class unicorn; .* text\.fg_set"):
        class_texts("voc_plain", ["bird", "unicorn"], "text.fg_set")
    with pytest.raises(ValueError, match="no background texts 'vok'; known: clims_voc"):
        background_texts("vok")


def test_own_texts_stand_in_place_of_a_list():
    assert class_texts({"cat": "house cat", "dog": "dog"}, ["dog", "cat"], "key") == ["dog", "house cat"]
    assert background_texts(["sky"]) == ["sky"]
    with pytest.raises(ValueError, match=r"texts lack the class dog; .*write the texts themselves"):
        class_texts({"cat": "cat"}, ["cat", "dog"], "key")
