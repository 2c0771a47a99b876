"""CLIP-ES against a whole run of the official program, and its corner cases."""

from __future__ import annotations

import paths
import pytest
import torch
from golden_clip import tensors, word, write_generated_clip
from torch.nn import functional as F
from torch.testing import assert_close

from wsss_bench.inference import seeds_of
from wsss_bench.methods.clip_es import CLIPES
from wsss_bench.nn.competing_texts import Texts
from wsss_bench.vocabulary import load

GOLDEN = paths.GOLDEN / "clip_es"
MINI = {"clip": "package:mini/clip", "texts": Texts("mini", "mini", "mini"), "affinity_blocks": 4}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return str(write_generated_clip(tmp_path_factory.mktemp("clip")))


def _published(clip_folder: str, dataset: str, box_threshold: float) -> CLIPES:
    """The method with the tiny CLIP, whose tokenizer has no words: the text embeddings are put in."""
    names = load(dataset)
    classes = {name: word(1000 + k) for k, name in enumerate(names)}
    method = CLIPES(names, clip_folder, Texts(classes, [word(2000)], "mini"), box_threshold=box_threshold)
    texts = tensors("program_text", GOLDEN)
    method.class_texts = texts[f"{dataset}_foreground"]
    method.background_texts = texts[f"{dataset}_background"]
    return method


@pytest.mark.parametrize(("dataset", "box_threshold"), [("voc", 0.4), ("coco", 0.7)])
def test_seeds_are_those_of_the_official_program(clip_folder, dataset, box_threshold):
    arrays = tensors("program", GOLDEN)
    method = _published(clip_folder, dataset, box_threshold)
    clip = method._clip.network
    image = arrays["network_input"][None] * clip.image_std + clip.image_mean
    keys = arrays[f"{dataset}_keys"].tolist()
    labels = torch.zeros(1, len(method.class_names))
    labels[0, keys] = 1
    maps = seeds_of(method, image, labels)
    full = F.interpolate(maps[:, keys], (101, 75), mode="bilinear", align_corners=False)
    # two divisions of nearly constant maps by their range, and the file is in half precision
    assert_close(full[0], arrays[f"{dataset}_attn_highres"].float(), rtol=0, atol=2e-3)
    assert not maps[:, [k for k in range(len(method.class_names)) if k not in keys]].any()


@pytest.fixture(scope="module")
def mini():
    return CLIPES(load("mini"), **MINI)


@pytest.mark.parametrize("shape", [(96, 96), (376, 504), (8, 8), (8, 64)])
def test_images_of_any_size_and_other_numbers_of_labels(mini, shape):
    image = torch.rand(3, 3, *shape, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(3, 8)
    labels[0, [2, 5]] = labels[1, 7] = 1
    with torch.inference_mode():  # as trainer.predict
        maps = seeds_of(mini, image, labels)
    assert maps.shape == (3, 8, shape[0] // 8, shape[1] // 8)
    assert torch.isfinite(maps).all()
    assert maps.amin() >= 0
    assert maps.amax() <= 1
    assert not maps[2].any()
    assert not maps[0, [0, 1, 3, 4, 6, 7]].any()
    with torch.inference_mode():
        assert_close(seeds_of(mini, image[1:2], labels[1:2])[0], maps[1], rtol=0, atol=1e-3)


def test_each_option_changes_the_seeds():
    image, labels = torch.rand(1, 3, 96, 96), torch.tensor([[1.0, 1, 0, 0, 0, 0, 0, 0]])
    published = seeds_of(CLIPES(load("mini"), **MINI), image, labels)
    for change in (
        {"target": "logit"},
        {"affinity_blocks": 0},
        {"affinity_blocks": 1},
        {"box_threshold": 0.9},
        {"box_threshold": None},
        {"texts": Texts("mini", [], "mini")},
    ):
        assert not torch.allclose(seeds_of(CLIPES(load("mini"), **MINI | change), image, labels), published)


def test_nothing_is_trained_or_saved(mini):
    assert not list(mini.parameters())
    assert not mini.state_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": Texts({"bird": "bird"}, "mini", "mini")}, "lack the class aeroplane"),
        ({"texts": Texts("mini", ["sky", "boat"], "mini")}, "the same to CLIP's tokenizer"),
        ({"texts": Texts("mini", ["Eyjafjallajökull"], "mini")}, "knows no word"),
        ({"texts": Texts("mini", "minni", "mini")}, "no background texts 'minni'; known"),
        ({"affinity_blocks": 5}, "affinity_blocks"),
        ({"box_threshold": 1.5}, "box_threshold"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CLIPES(load("mini"), **MINI | arguments)


def test_labels_are_needed(mini):
    with pytest.raises(ValueError, match="needs the labels"):
        seeds_of(mini, torch.rand(1, 3, 96, 96))
