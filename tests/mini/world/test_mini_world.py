"""The mini world: how scenes are drawn, its files, and that it has the same bytes however it is written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from scipy.ndimage import binary_dilation

from wsss_bench.data.command import main
from wsss_bench.data.sources.captions import CaptionTable
from wsss_bench.data.sources.webdataset import WebDataset
from wsss_bench.mini.world import CLASS_NAMES, MATERIALS, write_mini_world
from wsss_bench.mini.world.captions import describe, vocabulary
from wsss_bench.mini.world.coco_layout import CATEGORY_IDS, image_number
from wsss_bench.mini.world.manifest import read_manifest, tree_digest
from wsss_bench.mini.world.palette import voc_palette
from wsss_bench.mini.world.renderer import render
from wsss_bench.mini.world.samples import make_sample
from wsss_bench.mini.world.scenes import (
    BACKGROUND_PROBABILITIES,
    COMPANIONS,
    SINGLE_BACKGROUND,
    Camera,
    Scene,
    Stream,
    draw_object,
    draw_scene,
    image_rng,
)
from wsss_bench.mini.world.shapes import BODY_COLOURS, SHAPES, body_colours


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini") / "world"
    write_mini_world(folder, "small", random_seed=0, processes=1)
    return folder


def _ids(root: Path, split: str) -> list[str]:
    return (root / "voc/ImageSets/Segmentation" / f"{split}.txt").read_text().split()


def _scenes(stream: Stream, co_occurring: bool, count: int = 1500) -> list[Scene]:
    return [draw_scene(image_rng(0, stream, k), co_occurring) for k in range(count)]


def test_some_classes_have_a_single_background_in_train() -> None:
    seen: dict[str, Counter[str]] = {name: Counter() for name in CLASS_NAMES}
    for scene in _scenes(Stream.TRAIN, co_occurring=True):
        assert scene.material is not None
        for label in scene.labels:
            seen[CLASS_NAMES[label]][MATERIALS[scene.material]] += 1
    assert {name: set(seen[name]) for name in SINGLE_BACKGROUND} == {
        name: {home} for name, home in SINGLE_BACKGROUND.items()
    }
    for name, materials in seen.items():
        allowed = {m for m in MATERIALS if name in COMPANIONS[m]} | set(BACKGROUND_PROBABILITIES[name])
        assert set(materials) <= allowed
    assert len(seen["bird"]) == 5  # other classes have several backgrounds


def test_in_val_ood_every_class_is_on_every_background_equally_often() -> None:
    table = np.zeros((len(CLASS_NAMES), len(MATERIALS)))
    for scene in _scenes(Stream.VAL_OOD, co_occurring=False):
        for label in scene.labels:
            table[label, scene.material] += 1
    share = table / table.sum(1, keepdims=True)
    assert table.sum() > 2000
    assert np.abs(share - 1 / 6).max() < 0.07  # four standard errors of about 280 draws are .09


def test_number_of_classes_has_the_stated_distribution() -> None:
    counts = Counter(len(scene.labels) for scene in _scenes(Stream.TRAIN, co_occurring=True))
    total = sum(counts.values())
    # on sky and water only two classes are possible, so part of the scenes with three classes have two there
    assert counts[1] / total == pytest.approx(0.6, abs=0.05)
    assert counts[3] / total == pytest.approx(0.06, abs=0.04)


def test_each_body_colour_is_shared_by_three_classes_and_each_head_colour_by_none() -> None:
    uses = Counter(colour for label in range(8) for colour in body_colours(label))
    assert uses == dict.fromkeys(BODY_COLOURS, 3)
    assert len({shape.head_colour for shape in SHAPES.values()}) == 8


@pytest.mark.parametrize("label", range(8))
def test_head_covers_the_stated_share_of_the_object(label: int) -> None:
    rng = image_rng(0, Stream.TRAIN, 0)
    scene_object = draw_object(rng, label, scale=0.8, margin=0.5)
    part = render(Scene(0, (scene_object,), None, 0), rng, texture_seed=0).part
    assert 0.13 <= (part == 2).sum() / (part > 0).sum() <= 0.32


def test_the_camera_enlarges() -> None:
    rng = image_rng(0, Stream.TRAIN, 1)
    scene_object = draw_object(rng, 4, scale=0.4, margin=0.5)
    areas = [
        int((render(Scene(None, (scene_object,), None, 0, camera=Camera(zoom=zoom)), rng, 0).part > 0).sum())
        for zoom in (1.0, 2.0)
    ]
    assert areas[1] / areas[0] == pytest.approx(4, rel=0.05)


@pytest.mark.slow
def test_foreground_covers_about_a_quarter_of_the_pixels() -> None:
    shares = [(make_sample(0, Stream.TRAIN, k).rendering.part > 0).mean() for k in range(80)]
    assert 0.17 < float(np.mean(shares)) < 0.28


def test_captions_use_known_words_and_name_only_what_is_in_the_scene() -> None:
    known = set(vocabulary())
    rng = np.random.default_rng(0)
    for _ in range(300):
        sentence = describe([5, 5, 3], "grass", rng)
        words = set(sentence.replace(".", " .").split())
        assert words <= known
        named = {"cow", "cows", "cattle"}, {"bus", "coach"}, {"grass", "meadow"}
        assert any(words & forms for forms in named)
        assert not words & {"sheep", "lamb", "boat", "ship", "sky", "air"}
        assert not words & {"cow", "buses", "coaches"}  # two cows, one bus


def test_image_labels_of_the_xml_are_the_classes_of_the_scene(root: Path) -> None:
    for index, image_id in enumerate(_ids(root, "train")):
        tree = ElementTree.parse(root / "voc/Annotations" / f"{image_id}.xml")
        names = [node.text for node in tree.findall("object/name")]
        scene = make_sample(0, Stream.TRAIN, index).scene
        assert names == [CLASS_NAMES[scene_object.label] for scene_object in scene.objects]
        mask = np.asarray(Image.open(root / "voc/SegmentationClass" / f"{image_id}.png"))
        assert set(np.unique(mask)) - {0, 255} == {label + 1 for label in scene.labels}


def test_boxes_of_the_xml_enclose_the_instances(root: Path) -> None:
    for image_id in _ids(root, "val"):
        mask = np.asarray(Image.open(root / "voc/SegmentationObject" / f"{image_id}.png"))
        boxes = ElementTree.parse(root / "voc/Annotations" / f"{image_id}.xml").findall("object/bndbox")
        assert set(np.unique(mask)) - {0, 255} == set(range(1, len(boxes) + 1))
        for number, box in enumerate(boxes, start=1):
            left, top, right, bottom = (
                int(box.findtext(tag, "")) for tag in ("xmin", "ymin", "xmax", "ymax")
            )
            inside = mask[top - 1 : bottom, left - 1 : right] == number
            assert inside.sum() == (mask == number).sum()
            assert inside[0].any()
            assert inside[-1].any()


def test_masks_are_indexed_with_the_voc_palette_and_a_border(root: Path) -> None:
    palette = voc_palette()
    assert palette[3:6] == [128, 0, 0]
    assert palette[-3:] == [224, 224, 192]
    for folder in ("SegmentationClass", "SegmentationObject"):
        for image_id in _ids(root, "val_ood"):
            picture = Image.open(root / "voc" / folder / f"{image_id}.png")
            assert picture.mode == "P"
            assert picture.getpalette() == palette
            mask = np.asarray(picture)
            assert mask.shape == (96, 96)
            inside = (mask > 0) & (mask < 255)
            # a border of one pixel around the objects, outside of them, and nowhere else
            np.testing.assert_array_equal(mask == 255, binary_dilation(inside) & ~inside)


def test_splits_have_their_images_and_annotations(root: Path) -> None:
    assert [len(_ids(root, split)) for split in ("train", "train_aug", "val", "val_ood", "test")] == [
        40, 40, 16, 16, 4,
    ]  # fmt: skip
    for split in ("train", "val", "val_ood", "test"):
        for image_id in _ids(root, split):
            assert Image.open(root / "voc/JPEGImages" / f"{image_id}.jpg").size == (96, 96)
            # as on VOC's server, test images have no public annotation
            assert (root / "voc/Annotations" / f"{image_id}.xml").exists() == (split != "test")
    captions = json.loads((root / "voc/captions.json").read_text())
    assert set(captions) == {i for split in ("train", "val", "val_ood") for i in _ids(root, split)}
    assert all(len(sentences) == 2 for sentences in captions.values())


def test_coco_instances_decode_to_the_instances_of_voc(root: Path) -> None:
    coco = COCO(str(root / "coco/annotations/instances_train2014.json"))
    for index, image_id in enumerate(_ids(root, "train")):
        entries = coco.loadAnns(coco.getAnnIds(imgIds=image_number(index)))
        truth = np.asarray(Image.open(root / "voc/SegmentationObject" / f"{image_id}.png"))
        classes = np.asarray(Image.open(root / "voc/SegmentationClass" / f"{image_id}.png"))
        decoded = [coco.annToMask(entry).astype(bool) for entry in entries]
        assert [int(mask.sum()) for mask in decoded] == [entry["area"] for entry in entries]
        total = np.zeros_like(truth)
        for entry, mask in zip(entries, decoded, strict=True):
            assert set(classes[mask]) == {CATEGORY_IDS.index(entry["category_id"]) + 1}
            total += mask
        np.testing.assert_array_equal(total, (truth > 0) & (truth < 255))  # no overlap, nothing missing


def test_coco_layout_has_gaps_crowds_and_images_without_annotation(root: Path) -> None:
    coco = COCO(str(root / "coco/annotations/instances_train2014.json"))
    ids = sorted(coco.getCatIds())
    assert [coco.cats[k]["name"] for k in ids] == list(CLASS_NAMES)
    assert np.diff(ids).min() > 1
    assert any(not coco.getAnnIds(imgIds=number) for number in coco.getImgIds())
    crowds = [entry for entry in coco.anns.values() if entry["iscrowd"]]
    assert crowds
    assert all(isinstance(entry["segmentation"]["counts"], list) for entry in crowds)
    for part in ("train2014", "val2014"):
        images = json.loads((root / f"coco/annotations/captions_{part}.json").read_text())["images"]
        names = {image["file_name"] for image in images}
        assert names == {path.name for path in (root / "coco" / part).iterdir()}
    assert (root / "coco/train2014/COCO_train2014_000000000009.jpg").read_bytes() == (
        root / "voc/JPEGImages/train_000000.jpg"
    ).read_bytes()


@pytest.mark.slow
def test_bytes_depend_on_the_random_seed_but_not_on_the_number_of_processes(
    root: Path, tmp_path: Path
) -> None:
    write_mini_world(tmp_path / "two", "small", random_seed=0, processes=2)
    assert read_manifest(tmp_path / "two") == read_manifest(root)
    assert make_sample(0, Stream.VAL, 3).jpeg() != make_sample(1, Stream.VAL, 3).jpeg()
    assert make_sample(0, Stream.VAL, 3).jpeg() != make_sample(0, Stream.VAL_OOD, 3).jpeg()


def test_the_hash_of_the_manifest_covers_every_byte(root: Path, tmp_path: Path) -> None:
    manifest = read_manifest(root)
    assert manifest is not None
    assert manifest["sha256"] == tree_digest(root)
    assert manifest["counts"]["train"] == 40
    image = root / "voc/JPEGImages/train_000000.jpg"
    content = image.read_bytes()
    image.write_bytes(content + b"\0")
    try:
        assert manifest["sha256"] != tree_digest(root)
    finally:
        image.write_bytes(content)


def test_a_complete_world_is_not_written_again(root: Path) -> None:
    before = (root / "mini.json").stat().st_mtime_ns
    write_mini_world(root, "small", random_seed=0)
    assert (root / "mini.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"seed 0.*seed 1.*another --root"):
        write_mini_world(root, "small", random_seed=1)
    assert main(["mini", "--root", str(root), "--size", "full"]) == 2


def test_a_folder_of_version_1_is_read_as_it_is(root: Path, tmp_path: Path) -> None:
    """Version 2 has other weights, and the same images."""
    world = tmp_path / "world"
    shutil.copytree(root, world)
    content = json.loads((world / "mini.json").read_text())
    assert content["version"] == 2
    old = json.dumps(content | {"version": 1})
    (world / "mini.json").write_text(old)
    write_mini_world(world, "small", random_seed=0)
    assert (world / "mini.json").read_text() == old
    with pytest.raises(ValueError, match=r"seed 0.*seed 1.*another --root"):
        write_mini_world(world, "small", random_seed=1)
    (world / "mini.json").write_text(json.dumps(content | {"version": 3}))
    with pytest.raises(ValueError, match=r"version 3.*version 2"):
        write_mini_world(world, "small", random_seed=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x", "not readable"),
        ("7", "not readable"),
        ("{}", "lacks seed, size, version"),
        ("\xff", "not readable"),
    ],
)
def test_a_damaged_manifest_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mini.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"mini.json.*{message}.*delete"):
        write_mini_world(tmp_path, "small")


def test_foreign_files_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc/precious.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="folder of its own"):
        write_mini_world(tmp_path, "small")
    assert (tmp_path / "voc/precious.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_killed_run_is_completed_by_the_next(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "killed"
    code = (
        "import sys; from wsss_bench.data.command import main; "
        "sys.exit(main(['mini', '--root', sys.argv[1], '--size', 'small', '--processes', '1']))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(target)])
    deadline = time.monotonic() + 60
    while len(list(target.glob("voc/JPEGImages/*"))) < 5:
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert read_manifest(target) is None  # it does not count as complete
    write_mini_world(target, "small", random_seed=0, processes=1)
    assert read_manifest(target) == read_manifest(root)
    assert not (target / "mini.incomplete").exists()


@pytest.mark.slow
def test_the_command_imports_no_torch() -> None:
    code = "import sys, wsss_bench.data.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shards_hold_the_captions_of_the_training_images(root: Path) -> None:
    captions = json.loads((root / "voc/captions.json").read_text())
    shards = WebDataset(root / "pairs", ["shards/*.tar"])
    ids = shards.ids("train")
    assert (len(ids), ids[0], ids[-1]) == (80, "shards/00000:000000000", "shards/00003:000030019")
    said = [sentence for image_id in _ids(root, "train") for sentence in captions[image_id]]
    assert [shards.captions(image_id) for image_id in ids] == [(" ".join(text.split()),) for text in said]
    picture = np.asarray(Image.open(root / "voc/JPEGImages/train_000039.jpg"))
    np.testing.assert_array_equal(shards.image(ids[-1]), picture)
    assert shards.left_out == []


def test_the_table_of_captions_has_all_annotated_splits(root: Path) -> None:
    captions = json.loads((root / "voc/captions.json").read_text())
    table = CaptionTable(root, images="voc/JPEGImages", table="pairs/captions.csv")
    assert {split: table.ids(split) for split in ("train", "val", "val_ood")} == {
        split: _ids(root, split) for split in ("train", "val", "val_ood")
    }
    assert table.captions("val_000003") == tuple(captions["val_000003"])
    assert table.image("val_000003").shape == (96, 96, 3)


def test_an_older_world_gets_its_pairs_without_being_drawn_again(root: Path, tmp_path: Path) -> None:
    world = tmp_path / "world"
    shutil.copytree(root, world)
    before = (world / "mini.json").stat().st_mtime_ns
    shards = {path.name: path.read_bytes() for path in (world / "pairs/shards").glob("*.tar")}
    shutil.rmtree(world / "pairs")
    write_mini_world(world, "small", random_seed=0)
    assert {path.name: path.read_bytes() for path in (world / "pairs/shards").glob("*.tar")} == shards
    assert (world / "mini.json").stat().st_mtime_ns == before
