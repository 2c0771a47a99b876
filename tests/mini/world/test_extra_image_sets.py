"""Further training images and saliency maps: their labels, and that the mini world itself stays as it is."""

import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from wsss_bench.data.sources.folder import Folder
from wsss_bench.mini.world.extra_images import (
    EXTRA_COUNTS,
    MISSING_LABELS_PROBABILITY,
    WRONG_LABEL_PROBABILITY,
    make_extra_sample,
    make_saliency_map,
    missing_folders,
)
from wsss_bench.mini.world.manifest import read_manifest, tree_digest
from wsss_bench.mini.world.saliency import MISS_PROBABILITY
from wsss_bench.mini.world.samples import make_sample
from wsss_bench.mini.world.scenes import CLASS_NAMES, Stream
from wsss_bench.mini.world.writer import write_mini_world

pytestmark = pytest.mark.slow


def test_single_images_show_one_object_with_the_right_label():
    drawn = [make_extra_sample("single", 0, number) for number in range(30)]
    assert all(labels == list(sample.scene.labels) and len(sample.objects) == 1 for sample, labels in drawn)
    assert len({labels[0] for _, labels in drawn}) > 4


def test_web_labels_are_wrong_and_missing_at_the_stated_rates():
    kinds, several = Counter(), 0
    for number in range(120):
        sample, labels = make_extra_sample("web", 0, number)
        present = set(sample.scene.labels)
        if not set(labels) & present:
            assert len(labels) == 1
            kinds["wrong"] += 1
        else:
            assert set(labels) <= present
            several += len(present) > 1
            kinds["missing"] += set(labels) < present
    assert kinds["wrong"] / 120 == pytest.approx(WRONG_LABEL_PROBABILITY, abs=0.12)
    assert kinds["missing"] / several == pytest.approx(MISSING_LABELS_PROBABILITY, abs=0.22)


def test_extra_images_load_as_folder_sources_with_the_same_classes(mini_data):
    for name in ("single", "web"):
        source = Folder(mini_data / "mini" / name)
        assert source.class_names == CLASS_NAMES
        ids = source.ids("train")
        assert len(ids) == EXTRA_COUNTS["small"]
        assert source.image(ids[0]).shape == (96, 96, 3)
        labels = [CLASS_NAMES[label] for label in make_extra_sample(name, 0, 0)[1]]
        assert [CLASS_NAMES[k] for k in source.labels(ids[0]).nonzero()[0]] == labels


def test_saliency_maps_show_objects_without_classes_and_miss_some(mini_data):
    found, missed = 0, 0
    for index in range(40):
        path = mini_data / "mini" / "saliency" / f"train_{index:06d}.png"
        saliency = np.asarray(Image.open(path))
        assert np.array_equal(saliency, make_saliency_map("train", 0, index))
        instances = make_sample(0, Stream.TRAIN, index).rendering.instance
        assert saliency[instances == 0].mean() < 60
        shown = [saliency[instances == k].mean() > 100 for k in range(1, instances.max() + 1)]
        found, missed = found + sum(shown), missed + len(shown) - sum(shown)
    assert missed / (found + missed) == pytest.approx(MISS_PROBABILITY, abs=0.09)


def test_every_image_that_can_be_trained_on_has_a_saliency_map(mini_data, tmp_path):
    root = mini_data / "mini"
    images = [*(root / "single" / "images").iterdir(), *(root / "web" / "images").iterdir()]
    ids = [*(root / "voc/ImageSets/Segmentation/train.txt").read_text().split(), *(p.stem for p in images)]
    assert sorted(path.stem for path in (root / "saliency").iterdir()) == sorted(ids)
    shown = 0
    for number in range(EXTRA_COUNTS["small"]):
        instances = make_extra_sample("single", 0, number)[0].rendering.instance
        saliency = np.asarray(Image.open(root / "saliency" / f"single_{number:06d}.png"))
        shown += saliency[instances > 0].mean() > 100
    assert EXTRA_COUNTS["small"] - 5 <= shown <= EXTRA_COUNTS["small"]
    shutil.copytree(root, tmp_path / "earlier")
    for path in (tmp_path / "earlier" / "saliency").glob("web_*"):
        path.unlink()
    assert missing_folders(tmp_path / "earlier") == ["saliency"]
    write_mini_world(tmp_path / "earlier", "small", 0, 1)
    assert missing_folders(tmp_path / "earlier") == []


def test_missing_extra_images_are_added_to_a_world_that_stays_unchanged(mini_data, tmp_path):
    root = tmp_path / "world"
    # without the lists that tests add
    shutil.copytree(mini_data / "mini", root, ignore=shutil.ignore_patterns("few*.txt"))
    manifest = read_manifest(root)
    before = (root / "mini.json").stat().st_mtime_ns
    (root / "web").rename(tmp_path / "web")
    (root / "web.incomplete").mkdir()  # of a killed run
    assert missing_folders(root) == ["web"]
    write_mini_world(root, "small", 0, 1)
    assert not (root / "web.incomplete").exists()
    assert (root / "mini.json").stat().st_mtime_ns == before
    assert tree_digest(root) == manifest["sha256"]
    files = [path.relative_to(tmp_path / "web") for path in (tmp_path / "web").rglob("*.*")]
    assert len(files) == EXTRA_COUNTS["small"] + 2
    for file in files:
        assert (tmp_path / "web" / file).read_bytes() == (root / "web" / file).read_bytes()
