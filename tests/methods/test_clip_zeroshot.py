"""CLIP zero-shot with the shipped CLIP: constant background, text encoded once, names in prompts."""

import pytest
import torch

from wsss_bench.methods.clip_zeroshot import CLIPZeroShot

CLASSES = ("aeroplane", "bird", "boat", "bus", "car", "cow", "sheep", "train")


@pytest.fixture(scope="module")
def method():
    return CLIPZeroShot(CLASSES, clip="package:mini/clip", templates="mini", background=0.39)


def test_background_wins_where_no_class_exceeds_the_constant_cosine(method):
    image = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        cosines = method._cosines(image)
        best = method.segmentation_logits(image).argmax(dim=1)
        seeds = method.seed_maps(image)
    assert 0 < (best == 0).float().mean() < 1  # both occur in the images
    assert torch.equal(best == 0, cosines.amax(dim=1) <= method.background)
    assert torch.equal(best[best > 0] - 1, cosines.argmax(dim=1)[best > 0])
    assert torch.equal(seeds > 0.5, cosines > method.background)


def encoded_sentences(method, monkeypatch, images=1):
    """Sentences of every call of the text encoder while seeds of some images are made."""
    calls = []
    encode = method.clip.encode_text
    monkeypatch.setattr(
        method.clip, "encode_text", lambda sentences: calls.append(sentences) or encode(sentences)
    )
    with torch.no_grad():
        for _ in range(images):
            method.seed_maps(torch.rand(1, 3, 96, 96))
    return calls


def test_sentences_are_encoded_once(method, monkeypatch):
    method._text = None
    assert encoded_sentences(method, monkeypatch, images=3) == [[f"a photo of a {name}"] for name in CLASSES]


def test_nothing_is_trainable(method):
    assert not any(parameter.requires_grad for parameter in method.parameters())


def test_prompt_names_replace_class_names_and_unknown_classes_are_refused(monkeypatch):
    swapped = {"aeroplane": "bird", "bird": "aeroplane"}
    method = CLIPZeroShot(CLASSES, clip="package:mini/clip", templates="mini", prompt_names=swapped)
    assert encoded_sentences(method, monkeypatch)[0] == ["a photo of a bird"]
    with pytest.raises(
        ValueError, match="prompt_names has classes that the data source does not have: tvmonitor"
    ):
        CLIPZeroShot(CLASSES, clip="package:mini/clip", prompt_names={"tvmonitor": "tv monitor"})


def test_a_class_name_without_a_known_word_is_refused_unless_prompt_names_replaces_it(monkeypatch):
    with pytest.raises(
        ValueError, match="knows no word of the class names 'tvmonitor'; name these classes in plain"
    ):
        CLIPZeroShot(["cow", "tvmonitor"], clip="package:mini/clip", templates="mini")
    replaced = CLIPZeroShot(
        ["tvmonitor"], clip="package:mini/clip", templates="mini", prompt_names={"tvmonitor": "car"}
    )
    assert encoded_sentences(replaced, monkeypatch) == [["a photo of a car"]]
