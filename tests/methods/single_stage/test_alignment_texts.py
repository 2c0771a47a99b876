"""The frozen texts of DALNet; what the method does with them is tested there."""

import pytest
import torch

from wsss_bench.methods.single_stage import alignment_texts as module
from wsss_bench.methods.single_stage.alignment_texts import TextConfig, alignment_texts
from wsss_bench.vocabulary import load

CLASSES = load("mini")
TEXT = TextConfig(model="package:mini/clip", templates="mini", fg_set="mini", bg_set="mini")


def test_background_texts_of_the_classes_of_an_image(monkeypatch):
    monkeypatch.setattr(module, "background_texts", lambda name: ["sky", "bird", "water"])
    texts = alignment_texts(CLASSES, TEXT)
    assert texts.foreground.shape == (8, 64)
    assert texts.background.shape == (3, 64)
    torch.testing.assert_close(texts.background.norm(dim=1), torch.ones(3), atol=1e-5, rtol=0)
    assert bool((texts.suppressed_by == 1).all())
    assert texts.names_class.nonzero().tolist() == [[CLASSES.index("bird"), 1]]


def test_centred_texts_are_unit_vectors_around_nothing():
    centred, plain = (
        alignment_texts(CLASSES, TextConfig(**{**vars(TEXT), "center": c})) for c in (True, False)
    )
    vectors = torch.cat([centred.foreground, centred.background])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5, rtol=0)
    assert (plain.foreground @ plain.foreground.T).mean() > (
        centred.foreground @ centred.foreground.T
    ).mean() + 0.1


def test_a_background_text_too_near_to_a_class_is_told(monkeypatch):
    monkeypatch.setattr(module, "background_texts", lambda name: ["sky", "bird"])
    monkeypatch.setattr(module, "ALIKE", -1.0)
    with pytest.warns(UserWarning, match=r"takes 15 background texts .*sky / bird.* text\.bg_set") as caught:
        alignment_texts(CLASSES, TEXT)
    assert "bird / bird" not in str(caught[0].message)


def test_a_class_without_a_text_is_an_error():
    with pytest.raises(ValueError, match=r"know no class unicorn; .* text\.fg_set"):
        alignment_texts(("bird", "unicorn"), TEXT)
