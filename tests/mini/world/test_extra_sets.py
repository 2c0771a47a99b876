"""The sets beside the mini world: their labels, and that they leave the world alone."""

import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from wsss_bench.data.sources.folder import Folder
from wsss_bench.mini.world.extra_sets import (
    EXTRA_SIZES,
    MISSING,
    WRONG,
    extra_sample,
    missing_sets,
    saliency_of,
)
from wsss_bench.mini.world.grammar import CLASS_NAMES, Stream
from wsss_bench.mini.world.manifest import read_manifest, tree_digest
from wsss_bench.mini.world.saliency import OVERLOOKED
from wsss_bench.mini.world.samples import make_sample
from wsss_bench.mini.world.writer import write_mini_world


def test_single_shows_one_class_and_says_so():
    drawn = [extra_sample("single", 0, number) for number in range(30)]
    assert all(labels == list(sample.scene.labels) and len(sample.objects) == 1 for sample, labels in drawn)
    assert len({labels[0] for _, labels in drawn}) > 4


def test_web_labels_are_wrong_and_missing_at_the_stated_rates():
    kinds, several = Counter(), 0
    for number in range(120):
        sample, labels = extra_sample("web", 0, number)
        present = set(sample.scene.labels)
        if not set(labels) & present:
            assert len(labels) == 1
            kinds["wrong"] += 1
        else:
            assert set(labels) <= present
            several += len(present) > 1
            kinds["missing"] += set(labels) < present
    assert kinds["wrong"] / 120 == pytest.approx(WRONG, abs=0.12)
    assert kinds["missing"] / several == pytest.approx(MISSING, abs=0.22)


def test_sets_are_sources_of_the_same_classes(mini_data):
    for name in ("single", "web"):
        source = Folder(mini_data / "mini" / name)
        assert source.class_names == CLASS_NAMES
        ids = source.ids("train")
        assert len(ids) == EXTRA_SIZES["small"]
        assert source.image(ids[0]).shape == (96, 96, 3)
        labels = [CLASS_NAMES[label] for label in extra_sample(name, 0, 0)[1]]
        assert [CLASS_NAMES[k] for k in source.labels(ids[0]).nonzero()[0]] == labels


def test_saliency_is_of_objects_without_classes_and_overlooks_some(mini_data):
    found, overlooked = 0, 0
    for index in range(40):
        path = mini_data / "mini" / "saliency" / f"train_{index:06d}.png"
        saliency = np.asarray(Image.open(path))
        assert np.array_equal(saliency, saliency_of("train", 0, index))
        instances = make_sample(0, Stream.TRAIN, index).rendering.instance
        assert saliency[instances == 0].mean() < 60
        shown = [saliency[instances == k].mean() > 100 for k in range(1, instances.max() + 1)]
        found, overlooked = found + sum(shown), overlooked + len(shown) - sum(shown)
    assert overlooked / (found + overlooked) == pytest.approx(OVERLOOKED, abs=0.09)


def test_every_image_that_can_be_trained_on_has_a_saliency_map(mini_data, tmp_path):
    root = mini_data / "mini"
    images = [*(root / "single" / "images").iterdir(), *(root / "web" / "images").iterdir()]
    ids = [*(root / "voc/ImageSets/Segmentation/train.txt").read_text().split(), *(p.stem for p in images)]
    assert sorted(path.stem for path in (root / "saliency").iterdir()) == sorted(ids)
    shown = 0
    for number in range(EXTRA_SIZES["small"]):
        instances = extra_sample("single", 0, number)[0].rendering.instance
        saliency = np.asarray(Image.open(root / "saliency" / f"single_{number:06d}.png"))
        shown += saliency[instances > 0].mean() > 100
    assert EXTRA_SIZES["small"] - 5 <= shown <= EXTRA_SIZES["small"]
    shutil.copytree(root, tmp_path / "earlier")
    for path in (tmp_path / "earlier" / "saliency").glob("web_*"):
        path.unlink()
    assert missing_sets(tmp_path / "earlier") == ["saliency"]
    write_mini_world(tmp_path / "earlier", "small", 0, 1)
    assert missing_sets(tmp_path / "earlier") == []


def test_a_world_without_them_gets_them_and_stays_as_it_is(mini_data, tmp_path):
    root = tmp_path / "world"
    shutil.copytree(mini_data / "mini", root)
    manifest = read_manifest(root)
    before = (root / "mini.json").stat().st_mtime_ns
    (root / "web").rename(tmp_path / "web")
    (root / "web.incomplete").mkdir()  # of a killed run
    assert missing_sets(root) == ["web"]
    write_mini_world(root, "small", 0, 1)
    assert not (root / "web.incomplete").exists()
    assert (root / "mini.json").stat().st_mtime_ns == before
    assert tree_digest(root) == manifest["sha256"]
    files = [path.relative_to(tmp_path / "web") for path in (tmp_path / "web").rglob("*.*")]
    assert len(files) == EXTRA_SIZES["small"] + 2
    for file in files:
        assert (tmp_path / "web" / file).read_bytes() == (root / "web" / file).read_bytes()
