"""CLIP zero-shot with the shipped CLIP: background, text encoded once, names in prompts, seeds of labels."""

import pytest
import torch

from wsss_bench.methods.clip_zeroshot import CLIPSeeds, CLIPZeroShot
from wsss_bench.methods.clip_zeroshot.dense_clip import Reading
from wsss_bench.nn.class_prompts import prompt_ensemble

CLASSES = ("aeroplane", "bird", "boat", "bus", "car", "cow", "sheep", "train")


@pytest.fixture(scope="module")
def method():
    return CLIPZeroShot(CLASSES, clip="package:mini/clip", templates="mini", background=0.39)


def test_background_wins_where_no_class_exceeds_the_constant_cosine(method):
    image = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        cosines = method._cosines(image)  # of classes, each of which has one name
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


SURFACES = ["sky", "water", "railway", "grass", "road", "sand"]
NAMES = {"aeroplane": ["aeroplane", "plane"], "car": ["automobile", "car"], "cow": "cattle"}


def build(kind=CLIPZeroShot, classes=CLASSES, **arguments):
    return kind(classes, clip="package:mini/clip", templates="mini", **arguments)


@pytest.fixture(scope="module")
def spoken():
    return build(CLIPSeeds, prompt_names=NAMES, background=SURFACES, logit_scale=40.0)


@torch.no_grad()
def test_the_default_is_the_cosine_with_the_one_name_of_each_class_bit_for_bit(method):
    image = torch.rand(2, 3, 40, 64)
    dense = method.clip.dense(method.clip.normalize(image))
    text = prompt_ensemble(method.clip, CLASSES, ["a photo of a {}"])
    cosines = torch.einsum("bdhw,cd->bchw", dense, text)
    background = torch.full_like(cosines[:, :1], 0.39)
    expected = method.clip.model.logit_scale.exp() * torch.cat([background, cosines], dim=1)
    assert torch.equal(method.segmentation_logits(image), expected)
    assert torch.equal(method.seed_maps(image), torch.sigmoid(10 * (cosines - 0.39)))


@torch.no_grad()
def test_a_class_is_as_probable_as_the_best_of_its_names(spoken):
    image = torch.rand(2, 3, 40, 64)
    names = [
        *SURFACES,
        "aeroplane",
        "plane",
        "bird",
        "boat",
        "bus",
        "automobile",
        "car",
        "cattle",
        "sheep",
        "train",
    ]
    text = prompt_ensemble(spoken.clip, names, ["a photo of a {}"])
    dense = spoken.clip.dense(spoken.clip.normalize(image))
    probabilities = (40 * torch.einsum("bdhw,cd->bchw", dense, text)).softmax(dim=1)
    groups = [range(6), (6, 7), (8,), (9,), (10,), (11, 12), (13,), (14,), (15,)]
    best = torch.stack([probabilities[:, list(group)].amax(dim=1) for group in groups], dim=1)
    classes = spoken.segmentation_logits(image).softmax(dim=1)
    torch.testing.assert_close(classes, best / best.sum(dim=1, keepdim=True))
    torch.testing.assert_close(spoken.seed_maps(image), best[:, 1:])


@torch.no_grad()
def test_only_labelled_classes_compete_for_a_seed(spoken):
    image = torch.rand(2, 3, 40, 64)
    labels = torch.tensor([[1, 0, 0, 0, 0, 1, 0, 0], [0] * 8], dtype=torch.uint8)
    seeds = spoken.seed_maps(image, labels)
    few = build(CLIPSeeds, ("aeroplane", "cow"), background=SURFACES, logit_scale=40.0,
                prompt_names={"aeroplane": ["aeroplane", "plane"], "cow": "cattle"})  # fmt: skip
    torch.testing.assert_close(seeds[0, [0, 5]], few.seed_maps(image)[0])
    assert not seeds[0, [1, 2, 3, 4, 6, 7]].any()
    assert not seeds[1].any()  # no label: no seed


@torch.no_grad()
@pytest.mark.parametrize("background", [0.39, SURFACES])
def test_a_pixel_without_a_probable_class_is_background(background):
    image = torch.rand(1, 3, 96, 96)
    plain, strict = (build(background=background, prob_threshold=level) for level in (0.0, 0.5))
    names = plain._scale() * plain._cosines(image)
    if background == 0.39:
        names = torch.cat([torch.full_like(names[:, :1], 0.39 * plain._scale()), names], dim=1)
    logits = plain.segmentation_logits(image)
    probable = (logits - names.logsumexp(dim=1, keepdim=True)).exp().amax(dim=1) >= 0.5
    assert 0 < probable.float().mean() < 1
    expected = logits.argmax(dim=1).where(probable, 0)
    assert torch.equal(strict.segmentation_logits(image).argmax(dim=1), expected)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["self", "qk", "qq", "kk", "qq+kk", "kk+neighbours"])
def test_every_reading_segments_and_is_another_one(attention):
    std = 4.3 if attention == "kk+neighbours" else None
    read = build(background="published", last_block=Reading(attention, False, False, std))
    image = torch.rand(1, 3, 24, 40)
    logits = read.segmentation_logits(image)
    assert logits.shape == (1, 9, 3, 5)
    assert logits.isfinite().all()
    read.last_block = Reading()
    assert not torch.allclose(read.segmentation_logits(image), logits, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert read.segmentation_logits(image).dtype == torch.float32


def test_published_names_and_background_are_those_of_the_classes(method):
    assert build(prompt_names="published", background="published").names == [*SURFACES, *CLASSES]
    assert build(classes=CLASSES[::-1], background="published").names == [*SURFACES, *CLASSES[::-1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_names": {"car": ["bus"]}}, "prompt_names: 'bus' is a name of 'bus' and again of 'car'"),
        ({"prompt_names": {"car": ["car", "car"]}}, "'car' is a name of 'car' and again of 'car'"),
        ({"prompt_names": {"car": []}}, "class 'car' has no name; give it one"),
        ({"prompt_names": {"car": ["car", "sedan"]}}, "knows no word of the class names 'sedan'"),
        ({"background": []}, "background has no words"),
        ({"background": ["sky", "bird"]}, "background: 'bird' is a name of a class; leave it out"),
        ({"background": ["sky", "sky"]}, "background: 'sky' is given twice"),
        ({"background": ["sky", "ocean"]}, "knows no word of the class names 'ocean'"),
        ({"logit_scale": 0.0}, "logit_scale is 0.0; expected a number above 0"),
        ({"prob_threshold": 1.0}, "prob_threshold is 1.0; expected a number at least 0 and below 1"),
    ],
)
def test_names_that_cannot_be_used_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


@pytest.mark.parametrize("argument", ["prompt_names", "background"])
def test_published_lists_are_refused_for_other_classes(argument):
    with pytest.raises(
        ValueError, match=rf"{argument} is published, but .* voc, coco, .* \(bird, car, ...\); write"
    ):
        build(classes=["bird", "car"], **{argument: "published"})
