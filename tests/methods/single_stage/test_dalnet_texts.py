"""The texts of DALNet."""

import pytest

from wsss_bench.methods.single_stage.dalnet_texts import background_texts, foreground_texts, related_texts
from wsss_bench.vocabulary import load


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
def test_lists_have_a_text_for_every_class_and_none_twice(name, vocabulary):
    texts = foreground_texts(name, load(vocabulary))
    assert len(set(texts)) == len(load(vocabulary))


def test_texts_stand_in_label_order():
    assert foreground_texts("voc_clip_es", ["tvmonitor", "bird"]) == ["tvmonitor screen", "bird avian"]
    assert foreground_texts("coco_clip_es", ["snowboard", "tie"]) == ["snowboard", "necktie"]


@pytest.mark.parametrize(
    ("name", "count"), [("clip_es_voc", 25), ("clip_es_coco", 23), ("clims_voc", 10), ("mini", 6)]
)
def test_backgrounds_are_complete_and_name_no_class(name, count):
    texts = background_texts(name)
    assert len(set(texts)) == count
    assert not set(texts) & set(load(name.split("_")[-1]))


@pytest.mark.parametrize("name", ["voc", "mini"])
def test_every_class_has_backgrounds_of_its_own(name):
    assert all(related_texts(name, load(name)).values())
    assert "railway" in related_texts(name, ["train"])["train"]


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"know no class unicorn; .* text\.fg_set"):
        foreground_texts("voc_plain", ["bird", "unicorn"])
    with pytest.raises(ValueError, match="no background texts 'vok' for DALNet; known: clims_voc"):
        background_texts("vok")
    with pytest.raises(ValueError, match=r"know no class unicorn; .* text\.bg_set"):
        related_texts("voc", ["unicorn"])
