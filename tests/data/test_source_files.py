"""The files that sources read: a change of any of them is seen, a move of all of them is not."""

from __future__ import annotations

import os
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from wsss_bench.artifacts.data_reads import DataRead
from wsss_bench.artifacts.files import write_mask
from wsss_bench.artifacts.layout import DATA_FOLDER
from wsss_bench.data.listing import checked_digests, listing_of
from wsss_bench.data.sources.base import Source
from wsss_bench.data.sources.captions import CaptionTable
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.combined import CombinedSource, ExtraImages
from wsss_bench.data.sources.context import PascalContext
from wsss_bench.data.sources.files import (
    RACY_NANOSECONDS,
    DigestCache,
    by_content,
    changed_files,
    digest_of,
    read_listing,
    write_listing,
)
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.openvocab import COCOObject
from wsss_bench.data.sources.voc import VOC
from wsss_bench.data.sources.webdataset import WebDataset

PARTS = ("lists", "images", "labels", "masks", "captions")


def digests(source: Source, split: str = "train", parts=PARTS) -> dict[str, str]:
    reads = (DataRead("", split, part) for part in parts)
    return {read.part: digest_of(listing_of(source, read, DigestCache()) or {}) for read in reads}


def changed_parts(build, edit, split: str = "train", parts=PARTS) -> set[str]:
    """The parts whose digests differ after an edit."""
    before = digests(build(), split, parts)
    edit()
    after = digests(build(), split, parts)
    return {part for part in parts if before[part] != after[part]}


def append(path: Path, text: str = " "):
    return lambda: path.write_text(path.read_text() + text)


def flip(path: Path):
    """Change one byte, so that the size stays."""
    return lambda: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("ImageSets/Segmentation/train.txt", {"lists"}),
        ("Annotations/train_3.xml", {"labels"}),
        ("SegmentationClass/train_7.png", {"masks"}),
        ("captions.json", {"captions"}),
        ("Annotations/val_2.xml", set()),  # of another split
        ("SegmentationClass/val_1.png", set()),
        ("ImageSets/Segmentation/val.txt", set()),
    ],
)
def test_which_files_of_voc_count(voc_root, file, parts):
    (voc_root / "captions.json").write_text("{}")
    edit = append(voc_root / file) if file.endswith((".txt", ".json", ".xml")) else flip(voc_root / file)
    assert changed_parts(lambda: VOC(voc_root, "mini"), edit) == parts


def test_pictures_count_by_name_and_size(voc_root):
    def build():
        return VOC(voc_root, "mini")

    picture = voc_root / "JPEGImages" / "train_1.jpg"
    assert changed_parts(build, flip(picture)) == set()
    assert changed_parts(build, lambda: picture.write_bytes(picture.read_bytes() + b"0")) == {"images"}


def test_a_lost_mask_and_another_masks_folder_are_seen(voc_root):
    lost = voc_root / "SegmentationClass" / "train_1.png"
    assert changed_parts(lambda: VOC(voc_root, "mini"), lost.unlink) == {"masks"}
    shutil.copytree(voc_root / "SegmentationClass", voc_root / "SegmentationClassAug")
    other = VOC(voc_root, "mini", masks="SegmentationClassAug")
    assert digests(VOC(voc_root, "mini"))["masks"] != digests(other)["masks"]  # their names have the folder


@pytest.mark.parametrize("layout", ["voc", "coco", "folder"])
def test_moved_data_are_the_same_data(layout, request, tmp_path):
    root = request.getfixturevalue(f"{layout}_root")
    build = {
        "voc": lambda root: VOC(root, "mini"),
        "coco": lambda root: COCO(root, vocabulary="mini"),
        "folder": lambda root: Folder(root, masks="masks"),
    }[layout]
    before = digests(build(root))
    shutil.copytree(root, tmp_path / "moved", copy_function=shutil.copy)  # new times
    shutil.rmtree(root)
    assert digests(build(tmp_path / "moved")) == before


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("annotations/instances_train2014.json", {"lists", "labels", "masks"}),
        ("annotations/captions_train2014.json", {"captions"}),
        ("annotations/instances_val2014.json", set()),
    ],
)
def test_which_files_of_coco_count(coco_root, file, parts):
    assert changed_parts(lambda: COCO(coco_root, vocabulary="mini"), append(coco_root / file)) == parts


def test_pictures_and_prepared_masks_of_coco(coco_root, tmp_path):
    name = "COCO_train2014_000000000001"
    write_mask(tmp_path / "masks", name, np.zeros((30, 40), np.uint8))

    def build():
        return COCO(coco_root, vocabulary="mini", masks=str(tmp_path / "masks"))

    assert changed_parts(build, flip(tmp_path / "masks" / f"{name}.png")) == {"masks"}
    assert changed_parts(build, (coco_root / "train2014" / f"{name}.jpg").unlink) == {"images", "masks"}


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("labels.csv", {"lists"}),
        ("classes.txt", {"lists"}),
        ("masks/grey.png", {"masks"}),
        ("images/clear.png", {"images"}),
        ("images/deep/one.bmp", set()),
    ],
)
def test_which_files_of_a_folder_count(folder_root, file, parts):
    def grow():
        (folder_root / file).write_bytes((folder_root / file).read_bytes() + b"\n")

    assert changed_parts(lambda: Folder(folder_root, masks="masks"), grow) == parts


def test_captions_and_context_and_open_vocabulary(folder_root, tmp_path):
    table = folder_root / "captions.csv"
    table.write_text("image,caption\ngrey.png,a cat\n")
    assert changed_parts(lambda: CaptionTable(folder_root), append(table, "plain.jpg,a dog\n")) == {
        "lists",
        "images",
    }
    context = tmp_path / "VOC2010"
    for name in (
        "JPEGImages/a.jpg",
        "SegmentationClassContext/a.png",
        "ImageSets/SegmentationContext/val.txt",
    ):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text("a\n")

    def build():
        return PascalContext(context)

    assert changed_parts(build, append(context / "SegmentationClassContext/a.png"), "val") == {"masks"}
    assert changed_parts(build, append(context / "ImageSets/SegmentationContext/val.txt"), "val") == {"lists"}
    things = tmp_path / "coco"
    for name in ("val2017/a.jpg", "stuffthingmaps/val2017/a.png"):
        (things / name).parent.mkdir(parents=True, exist_ok=True)
        (things / name).write_text("a\n")
    assert changed_parts(lambda: COCOObject(things), append(things / "val2017/a.jpg"), "val") == {"images"}
    assert changed_parts(
        lambda: COCOObject(things), flip(things / "stuffthingmaps/val2017/a.png"), "val"
    ) == {"masks"}


def write_shard(path: Path, pairs: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, text in pairs.items():
            for name, content in ((f"{key}.jpg", b"picture"), (f"{key}.txt", text.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, BytesIO(content))


def test_shards_count_by_their_index_and_size(tmp_path):
    shard = tmp_path / "pairs" / "0.tar"
    write_shard(shard, {"a": "a cat", "b": "a dog"})

    def build():
        return WebDataset(tmp_path / "pairs")

    assert changed_parts(build, lambda: os.utime(shard, (1, 1))) == set()
    assert changed_parts(build, lambda: write_shard(shard, {"a": "a cat", "c": "a dog"})) == {"lists"}
    write_shard(tmp_path / "copy" / "0.tar", {"a": "a cat", "c": "a dog"})
    assert digests(WebDataset(tmp_path / "copy")) == digests(build())
    more = tmp_path / "pairs" / "1.tar"
    assert changed_parts(build, lambda: write_shard(more, {"d": "a cow"})) == {"lists", "images"}


def test_extra_images_count_for_the_training_split(voc_root, folder_root):
    (folder_root / "classes.txt").write_text("bird\ntrain\n")
    (folder_root / "labels.csv").write_text("image,classes\ngrey.png,bird\n")

    def build():
        extra = {"web": ExtraImages(Folder(folder_root))}
        return CombinedSource(VOC(voc_root, "mini"), "train", extra)

    table = append(folder_root / "labels.csv", "plain.jpg,train\n")
    assert changed_parts(build, table) == {"lists", "images"}
    assert changed_parts(build, append(folder_root / "labels.csv", "clear.png,bird\n"), "val") == set()
    assert changed_parts(build, append(voc_root / "Annotations/train_1.xml")) == {"labels"}


class Own(Source):
    """A source that does not say which files it reads."""

    class_names = ("cat",)

    def ids(self, split):
        return ["a"]

    def image(self, image_id):
        raise AssertionError

    labels = mask = image


class Rooted(Own):
    def __init__(self, root):
        self.root = root


def test_an_own_source_counts_all_public_files_below_its_root(tmp_path):
    for name in ("own/list.txt", "own/masks/a.png", "own/images/a.jpg", "own/.cache/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("content\n")

    def build():
        return Rooted(str(tmp_path / "own"))

    assert changed_parts(build, flip(tmp_path / "own/list.txt")) == {"lists"}
    assert changed_parts(build, flip(tmp_path / "own/masks/a.png")) == {"lists"}
    assert changed_parts(build, append(tmp_path / "own/images/a.jpg")) == {"lists"}
    assert changed_parts(build, flip(tmp_path / "own/images/a.jpg")) == set()
    assert changed_parts(build, append(tmp_path / "own/.cache/x")) == set()
    assert listing_of(Own(), DataRead("", "train", "lists"), DigestCache()) is None


def test_the_maps_of_a_refiner_count(voc_root, tmp_path):
    for k in range(10):
        write_mask(tmp_path / "maps", f"train_{k}", np.zeros((4, 4), np.uint8))
    read = DataRead("", "train", "maps", str(tmp_path / "maps"))
    source = VOC(voc_root, "mini")
    before = listing_of(source, read, DigestCache())
    flip(tmp_path / "maps" / "train_4.png")()
    assert changed_files(before, listing_of(source, read, DigestCache())) == ["train_4.png changed"]


def test_a_second_look_reads_no_file_again(tmp_path, monkeypatch):
    path = tmp_path / "list.txt"
    path.write_text("one")
    reads = []

    def counted(path):
        reads.append(path)
        return by_content(path)

    monkeypatch.setattr("wsss_bench.data.sources.files.RACY_NANOSECONDS", -1)
    cache = DigestCache(tmp_path / "cache")
    first = cache.digest(path, counted)
    cache.save()
    again = DigestCache(tmp_path / "cache")
    assert again.digest(path, counted) == first
    assert len(reads) == 1
    stat = path.stat()
    path.write_text("two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time of modification
    assert again.digest(path, counted) != first
    assert len(reads) == 2


def test_a_file_that_was_just_written_is_not_cached(tmp_path):
    assert RACY_NANOSECONDS >= 10_000_000  # a clock tick of any kernel
    path = tmp_path / "list.txt"
    path.write_text("one")
    cache = DigestCache(tmp_path / "cache")
    cache.digest(path, by_content)
    cache.save()
    assert not (tmp_path / "cache").exists()


def test_listings_are_kept_with_any_name(tmp_path):
    listing = {"a b.png": "1", "Ü/ü.xml": "absent"}
    write_listing(tmp_path, listing)
    assert read_listing(tmp_path, digest_of(listing)) == listing
    assert read_listing(tmp_path, "0" * 32) is None


def test_a_stage_names_the_files_that_changed_since_its_plan(voc_root, tmp_path):
    source = VOC(voc_root, "mini")
    reads = [DataRead("", "train", part) for part in ("lists", "labels")]
    out = tmp_path / "runs" / "stages" / "train-a-b-00000000"
    planned = checked_digests(source, reads, {}, out)
    assert sorted(planned) == ["train/labels", "train/lists"]
    assert checked_digests(source, reads, planned, out) == planned
    for read in reads:
        write_listing(tmp_path / "runs" / DATA_FOLDER, listing_of(source, read, DigestCache()))
    for k in range(7):
        append(voc_root / "Annotations" / f"train_{k}.xml")()
    with pytest.raises(
        ValueError, match=r"Annotations/train_0.xml changed, .*train_4.xml changed, and 2 more"
    ):
        checked_digests(VOC(voc_root, "mini"), reads, planned, out)
    shutil.rmtree(tmp_path / "runs" / DATA_FOLDER)  # the kind of file is known without listings, too
    with pytest.raises(ValueError, match=r"was planned with: train/labels\. Restore"):
        checked_digests(VOC(voc_root, "mini"), reads, planned, out)
