"""The texts of DALNet, and their embeddings."""

import pytest
import torch

from wsss_bench.methods.single_stage import dalnet_texts
from wsss_bench.methods.single_stage.dalnet_texts import (
    TextConfig,
    class_related_texts,
    encode_texts,
    generic_texts,
)
from wsss_bench.vocabulary import load

CLASSES = load("mini")
TEXT = TextConfig(model="package:mini/clip", templates="mini", fg_set="mini", bg_set="mini")


@pytest.mark.parametrize("name", ["voc", "mini"])
def test_every_class_has_class_related_background_texts(name):
    assert all(class_related_texts(name, load(name)).values())
    assert "railway" in class_related_texts(name, ["train"])["train"]


def test_unknown_lists_and_classes_are_named_in_the_error():
    with pytest.raises(ValueError, match="no class-related texts 'vok'; known: mini, voc"):
        class_related_texts("vok", ["cat"])
    with pytest.raises(ValueError, match=r"lack the class unicorn; .* text\.bg_set"):
        class_related_texts("voc", ["unicorn"])


def test_own_texts_stand_in_place_of_a_list():
    assert generic_texts(["sky"]) == ["sky"]
    assert class_related_texts({"cat": ["sofa"]}, ["cat"]) == {"cat": ["sofa"]}
    with pytest.raises(ValueError, match=r"set text\.bg_mode: class_related"):
        generic_texts({"cat": ["sofa"]})
    with pytest.raises(ValueError, match=r"set text\.bg_mode: generic"):
        class_related_texts(["sky"], ["cat"])


def test_background_texts_that_name_a_class_are_marked(monkeypatch):
    monkeypatch.setattr(dalnet_texts, "generic_texts", lambda name: ["sky", "bird", "water"])
    texts = encode_texts(CLASSES, TEXT)
    assert texts.foreground.shape == (8, 64)
    assert texts.background.shape == (3, 64)
    torch.testing.assert_close(texts.background.norm(dim=1), torch.ones(3), atol=1e-5, rtol=0)
    assert bool((texts.class_backgrounds == 1).all())
    assert texts.is_class_name.nonzero().tolist() == [[CLASSES.index("bird"), 1]]


def test_centred_embeddings_are_unit_vectors_of_lower_mutual_cosine():
    centred, plain = (encode_texts(CLASSES, TextConfig(**{**vars(TEXT), "center": c})) for c in (True, False))
    vectors = torch.cat([centred.foreground, centred.background])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5, rtol=0)
    assert (plain.foreground @ plain.foreground.T).mean() > (
        centred.foreground @ centred.foreground.T
    ).mean() + 0.1


def test_a_background_text_too_similar_to_a_class_text_gives_a_warning(monkeypatch):
    monkeypatch.setattr(dalnet_texts, "generic_texts", lambda name: ["sky", "bird"])
    monkeypatch.setattr(dalnet_texts, "MAX_COSINE", -1.0)
    with pytest.warns(
        UserWarning, match=r"distinguishes 15 background texts .*sky / bird.* text\.bg_set"
    ) as caught:
        encode_texts(CLASSES, TEXT)
    assert "bird / bird" not in str(caught[0].message)


def test_a_class_without_a_text_is_an_error():
    with pytest.raises(ValueError, match=r"lack the class unicorn; .* text\.fg_set"):
        encode_texts(("bird", "unicorn"), TEXT)
