"""The mini web: truthful captions, every class everywhere, no label file."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsss_bench.mini.weights.web import NOUNS, Web, make_web, mentioned_nouns


@pytest.fixture(scope="module")
def web() -> Web:
    return make_web(seed=3, count=250)


def test_captions_name_only_what_is_visible(web: Web) -> None:
    mentioned = mentioned_nouns(web.caption)
    assert not (mentioned & (web.truth != 1)).any()
    assert mentioned.any(1).mean() > 0.9
    # and they are incomplete: some visible nouns go unnamed
    assert 0.1 < (~mentioned & (web.truth == 1)).sum() / (web.truth == 1).sum() < 0.5


def test_classes_meet_materials_they_never_meet_in_train(web: Web) -> None:
    classes, materials = web.truth[:, :8] == 1, web.truth[:, 8:] == 1
    together = classes.T.astype(int) @ materials.astype(int)  # (8, 6)
    assert (together > 0).mean() > 0.9
    assert (classes.sum(0) > 15).all()


def test_single_class_images_show_one_class_and_nothing_doubtful(web: Web) -> None:
    index, labels = web.single_class()
    assert len(index) > 100
    for number, label in zip(index, labels, strict=True):
        expected = np.zeros(8, np.int8)
        expected[label] = 1
        np.testing.assert_array_equal(web.truth[number, :8], expected)


def test_the_web_does_not_depend_on_processes_or_on_where_one_starts(web: Web) -> None:
    again = make_web(seed=3, count=5, processes=2, start=7)
    np.testing.assert_array_equal(again.image, web.image[7:12])
    assert again.caption == web.caption[7:12]
    assert (make_web(seed=4, count=1).image != web.image[:1]).any()


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
    assert make_web(seed=9, count=2).image.shape == (2, 96, 96, 3)
