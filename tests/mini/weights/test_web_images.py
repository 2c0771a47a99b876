"""The mini web: captions name only what is visible, all classes on all backgrounds, no file is read."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsss_bench.mini.weights.web_images import (
    NOUNS,
    TYPICAL,
    WebImages,
    make_web_images,
    mentioned_nouns,
)
from wsss_bench.mini.world.scenes import BACKGROUND_PROBABILITIES, CLASS_NAMES, MATERIALS


@pytest.fixture(scope="module")
def web() -> WebImages:
    return make_web_images(random_seed=3, count=250)


def test_captions_name_only_what_is_visible(web: WebImages) -> None:
    mentioned = mentioned_nouns(web.captions)
    assert not (mentioned & (web.presence != 1)).any()
    assert mentioned.any(1).mean() > 0.9
    # captions are incomplete: some visible nouns are not named
    assert 0.1 < (~mentioned & (web.presence == 1)).sum() / (web.presence == 1).sum() < 0.5


def test_classes_occur_on_materials_on_which_they_never_are_in_train(web: WebImages) -> None:
    classes, materials = web.presence[:, :8] == 1, web.presence[:, 8:] == 1
    together = classes.T.astype(int) @ materials.astype(int)  # (8, 6)
    assert (together > 0).mean() > 0.9
    assert (classes.sum(0) > 15).all()


def test_in_the_typical_web_nearly_every_class_is_on_its_own_materials() -> None:
    web = make_web_images(random_seed=3, count=250, web=TYPICAL)
    index, labels = web.single_class()
    materials = web.presence[index, 8:] == 1
    own = np.asarray([[name in BACKGROUND_PROBABILITIES[c] for name in MATERIALS] for c in CLASS_NAMES])
    seen = materials.any(1)
    assert 0.9 < (materials & own[labels])[seen].any(1).mean() < 1
    with_objects = web.presence[:, :8] == 1
    together = with_objects.T.astype(int) @ (web.presence[:, 8:] == 1).astype(int)
    assert 0.4 < (together > 0).mean() < 0.8  # 24 of the 48 pairs are those of the mini world and companions'


def test_single_class_images_show_one_class_and_no_uncertain_one(web: WebImages) -> None:
    index, labels = web.single_class()
    assert len(index) > 100
    for number, label in zip(index, labels, strict=True):
        expected = np.zeros(8, np.int8)
        expected[label] = 1
        np.testing.assert_array_equal(web.presence[number, :8], expected)


@pytest.mark.slow
def test_images_do_not_depend_on_the_number_of_processes_or_on_the_start(web: WebImages) -> None:
    again = make_web_images(random_seed=3, count=5, processes=2, start=7)
    np.testing.assert_array_equal(again.images, web.images[7:12])
    assert again.captions == web.captions[7:12]
    assert (make_web_images(random_seed=4, count=1).images != web.images[:1]).any()


def test_nouns_are_found_by_name_synonym_and_plural() -> None:
    found = mentioned_nouns(
        ["a photo of some lambs on the street.", "buses near the rails", "an empty scene"]
    )
    named = [[NOUNS[k] for k in np.flatnonzero(row)] for row in found]
    assert named == [["sheep", "road"], ["bus", "railway"], []]


def test_no_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"opened {arguments[0]}")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    assert make_web_images(random_seed=9, count=2).images.shape == (2, 96, 96, 3)
