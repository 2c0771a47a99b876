"""Names and background words of `synonyms.yaml`: complete, and none of them twice."""

import pytest

from wsss_bench.vocabulary import load, read
from wsss_bench.vocabulary.synonyms import background_words, names_of_classes

LISTS = read("synonyms", "wsss_bench.vocabulary.synonyms")
COUNTS = {"voc": (20, 30, 26), "coco": (80, 87, 25), "context": (59, 59, 1), "coco_stuff": (171, 171, 0),
          "cityscapes": (19, 19, 0), "ade20k": (150, 150, 0), "camvid": (11, 11, 0),
          "mini": (8, 8, 6)}  # fmt: skip


@pytest.mark.parametrize("vocabulary", LISTS)
def test_names_and_words_are_complete_and_different(vocabulary):
    classes = load(vocabulary)
    names = names_of_classes("published", classes)
    words = background_words("published", classes, names)
    spoken = [name for own in names for name in own]
    assert (len(names), len(spoken), len(words)) == COUNTS[vocabulary]
    assert len({*spoken, *words}) == len(spoken) + len(words)
    assert set(LISTS[vocabulary]["names"]) <= set(classes)


def test_a_background_word_that_is_a_class_is_left_out():
    assert "bed" in LISTS["coco"]["background"]
    names = names_of_classes("published", load("coco"))
    assert "bed" not in background_words("published", load("coco"), names)


def test_synonyms_follow_the_order_of_the_classes():
    names = names_of_classes("published", load("voc"))
    assert names[3] == ["ship"]
    assert names[14][:2] == ["person", "person in shirt"]
    assert names_of_classes({"b": ["x", "y"]}, ["a", "b"]) == [["a"], ["x", "y"]]
