"""The tar file for VOC's server, and pseudo masks for other repositories, through the command line."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from voc_world import SIZES, TRAIN, truth, write_world

from wsss_bench.artifacts.files import read_mask, write_mask
from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.artifacts.run import StageInfo, open_stage
from wsss_bench.cli import main
from wsss_bench.exchange import voc_test

COUNT = 6


@pytest.fixture(scope="module")
def test_images(tmp_path_factory):
    """A data file with a split `test`, whose images are links to two others, without annotation."""
    folder = tmp_path_factory.mktemp("world")
    data = write_world(folder)
    images = folder / "VOC2012" / "JPEGImages"
    ids = [f"2008_{number:06d}" for number in range(COUNT)]
    for number, image_id in enumerate(ids):
        os.link(images / f"{('odd/a', 'odd/b')[number % 2]}.jpg", images / f"{image_id}.jpg")
    lists = folder / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "test.txt").write_text("".join(f"/JPEGImages/{image_id}.jpg\n" for image_id in ids))
    return data, ids


@pytest.fixture
def masks(test_images, tmp_path, monkeypatch):
    """A folder of masks of these images, as many as the server expects here."""
    monkeypatch.setattr(voc_test, "COUNT", COUNT)
    folder = tmp_path / "masks"
    for name in ("odd/a", "odd/b"):
        write_mask(tmp_path, name, truth(name))
    folder.mkdir()
    for number, image_id in enumerate(test_images[1]):
        os.link(tmp_path / f"{('odd/a', 'odd/b')[number % 2]}.png", folder / f"{image_id}.png")
    return folder


def export(masks, out, data, *options):
    words = ["export", "voc-test", "--masks", str(masks), "--out", str(out), "--data", str(data)]
    return main([*words, *options])


def test_the_tar_file_is_what_the_server_takes(test_images, masks, tmp_path):
    data, ids = test_images
    assert export(masks, tmp_path / "one.tar.gz", data) == 0
    with tarfile.open(tmp_path / "one.tar.gz") as archive:
        entries = archive.getmembers()
        assert [entry.name for entry in entries] == [
            f"results/VOC2012/Segmentation/comp5_test_cls/{image_id}.png" for image_id in ids
        ]
        assert {(entry.mtime, entry.uid, entry.gid, entry.mode, entry.isfile()) for entry in entries} == {
            (0, 0, 0, 0o644, True)
        }
        for entry, name in zip(entries[:2], ("odd/a", "odd/b"), strict=True):
            with Image.open(BytesIO(archive.extractfile(entry).read())) as image:
                assert image.mode == "P"
                assert bytes(image.getpalette()) == voc_palette()
                np.testing.assert_array_equal(np.asarray(image), truth(name))
    later = tmp_path / "later"
    later.mkdir()
    assert export(masks, later / "two.tgz", data) == 0  # the same bytes, under any name and at any time
    assert (later / "two.tgz").read_bytes() == (tmp_path / "one.tar.gz").read_bytes()
    assert export(masks, tmp_path / "one.tar", data, "--competition", "comp6") == 0
    with tarfile.open(tmp_path / "one.tar", "r:") as archive:
        assert archive.getnames()[-1] == f"results/VOC2012/Segmentation/comp6_test_cls/{ids[-1]}.png"


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        (None, "has no mask for 1 images of split 'test': 2008_000005"),
        (np.where(truth("odd/b") == 0, np.uint8(255), truth("odd/b")), "holds 255 (ignored)"),
        (truth("odd/b") + np.uint8(18), "holds the values [21, 25]"),
        (truth("odd/b").T, "is 61x90 (height x width), the image '2008_000005' is 90x61"),
    ],
)
def test_masks_that_the_server_would_refuse_give_no_file(
    test_images, masks, tmp_path, planted, message, capsys
):
    data, ids = test_images
    (masks / f"{ids[-1]}.png").unlink()
    if planted is not None:
        write_mask(masks, ids[-1], np.ascontiguousarray(planted))
    out = tmp_path / "new" / "results.tar"
    assert export(masks, out, data) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_another_data_set_or_list_is_refused(tmp_path, capsys):
    data = write_world(tmp_path)
    masks = tmp_path / "VOC2012" / "SegmentationClass"
    assert export(masks, tmp_path / "results.tar", data) == 1
    assert "no split 'test'" in capsys.readouterr().err
    lists = tmp_path / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "test.txt").write_text((lists / "train.txt").read_text())
    assert export(masks, tmp_path / "results.tar", data) == 1
    assert "split 'test' has 3 images, that of VOC 2012 has 1456" in capsys.readouterr().err
    assert export(masks, tmp_path / "results.zip", data) == 1
    assert "does not end with .tar or .tar.gz or .tgz" in capsys.readouterr().err
    data.write_text(data.read_text().replace("root:", "background: false\n      root:"))
    assert export(masks, tmp_path / "results.tar", data) == 1
    assert "the data set has no background" in capsys.readouterr().err


def pseudo_mask(image_id):
    mask = truth(image_id).copy()
    mask[:3] = 255
    return mask


@pytest.fixture
def stage(tmp_path):
    """A refine stage of the training images."""
    folder = tmp_path / "refine-cam-tiny"
    with open_stage(folder, "refine", {"split": "train"}, StageInfo(title="cam-tiny")):
        for image_id in TRAIN:
            write_mask(folder / "masks", image_id, pseudo_mask(image_id))
    return folder


def test_pseudo_masks_go_to_a_folder_with_list_and_manifest(stage, tmp_path, capsys):
    out = tmp_path / "shared" / "masks"
    assert main(["export", "pseudo-masks", str(stage), "--out", str(out)]) == 0
    ids = sorted(TRAIN)
    assert (out / "list.txt").read_text().split() == ids
    total = hashlib.sha256()
    for image_id in ids:
        mask = read_mask(out / f"{image_id}.png")
        np.testing.assert_array_equal(mask, pseudo_mask(image_id))
        height, width = SIZES[image_id]
        total.update(hashlib.sha256(f"{image_id} {height} {width}\n".encode() + mask.tobytes()).digest())
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["sha256"] == total.hexdigest()
    assert manifest["sha256"] in capsys.readouterr().out
    assert {key: manifest[key] for key in ("stage", "kind", "title", "split", "images")} == {
        "stage": "refine-cam-tiny", "kind": "refine", "title": "cam-tiny", "split": "train", "images": 3,
    }  # fmt: skip
    assert manifest["commit"] == json.loads((stage / "stage.json").read_text())["commit"]
    assert len([path for path in out.rglob("*") if path.is_file()]) == 5
    assert main(["export", "pseudo-masks", str(stage), "--out", str(out)]) == 1
    assert "is not an empty folder" in capsys.readouterr().err


def test_pseudo_masks_go_to_a_tar_file_of_equal_bytes(stage, tmp_path):
    words = ["export", "pseudo-masks", str(stage), "--ignored", "background", "--out"]
    for folder in ("a", "b"):
        assert main([*words, str(tmp_path / folder / "masks.tar.gz")]) == 0
    assert (tmp_path / "a" / "masks.tar.gz").read_bytes() == (tmp_path / "b" / "masks.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "a" / "masks.tar.gz") as archive:
        assert archive.getnames() == [
            *(f"masks/{image_id}.png" for image_id in sorted(TRAIN)),
            "masks/list.txt",
            "masks/manifest.json",
        ]
        with Image.open(BytesIO(archive.extractfile("masks/odd/a.png").read())) as image:
            np.testing.assert_array_equal(
                np.asarray(image), np.where(pseudo_mask("odd/a") == 255, 0, pseudo_mask("odd/a"))
            )


def test_only_a_complete_and_whole_stage_is_exported(stage, tmp_path, capsys):
    (stage / "masks" / "odd" / "a.png").unlink()
    words = ["export", "pseudo-masks", str(stage), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "has lost 1 of its files: masks/odd/a.png" in capsys.readouterr().err
    (stage / "stage.json").unlink()
    assert main(words) == 1
    assert "the stage did not complete" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_stage_with_several_read_outs_needs_the_name_of_one(tmp_path, capsys):
    folder = tmp_path / "predict"
    with open_stage(folder, "predict", {"split": "train"}, StageInfo()):
        for readout in ("ss-raw", "ms-crf"):
            write_mask(folder / "masks" / readout, "odd/a", truth("odd/a") * (readout == "ms-crf"))
    words = ["export", "pseudo-masks", str(folder), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "has several read-outs; name one of ss-raw, ms-crf with --readout" in capsys.readouterr().err
    assert main([*words, "--readout", "ms-raw"]) == 1
    assert "has no read-out 'ms-raw'" in capsys.readouterr().err
    assert main([*words, "--readout", "ms-crf"]) == 0
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "odd" / "a.png"), truth("odd/a"))
