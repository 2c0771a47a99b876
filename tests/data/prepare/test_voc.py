"""`wsss-bench data voc`: from the two archives to what the source and the check read."""

import csv
import itertools

import numpy as np
import official_archives as official
import pytest
from PIL import Image

from wsss_bench.artifacts.files import file_names, read_mask
from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.cli import main
from wsss_bench.data.prepare import unpacking, writing
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.voc import VOC

CONFIG = """
data:
  source: {class_path: wsss_bench.data.sources.voc.VOC, init_args: {root: "${WSSS_DATA}/VOCdevkit/VOC2012"}}
  train_split: train_aug
protocol:
  {dataset: voc, train_split: train, eval_splits: [val], counts: {train: 2, train_aug: 4, val: 1}}
"""
AUG = ["2007_000032", "2008_000002", "2008_000008", "2010_000003"]  # SBD and VOC train, without VOC val


@pytest.fixture
def folder(tmp_path):
    official.write_voc(tmp_path / "archives")
    return tmp_path / "root" / "VOCdevkit" / "VOC2012"


def test_the_whole_chain(prepare, folder, tmp_path, monkeypatch, capsys):
    status, out, err = prepare("voc")
    assert (status, err) == (0, "")
    assert "kB in 25 files to write in" in out
    assert "SegmentationClassAug: 5 files" in out
    assert "split train_aug: 4 images" in out
    assert f"next: WSSS_DATA={tmp_path / 'root'} wsss-bench data check --config voc" in out

    # only what the sources read, and no file of a killed run
    folders = {name.rpartition("/")[0] for name in file_names(folder)}
    masks = {"SegmentationClass", "SegmentationClassAug"}
    assert folders == {"", "JPEGImages", "Annotations", "ImageSets/Segmentation", *masks}
    assert {name for name in file_names(folder) if "/" not in name} == {"image_labels.csv"}

    source = VOC(folder, masks="SegmentationClassAug")
    assert source.ids("train_aug") == AUG
    for image_id in AUG:
        own = image_id in official.VOC_TRAIN  # VOC's mask where there is one, SBD's else
        expected = official.voc_mask(image_id) if own else official.sbd_mask(image_id)
        assert np.array_equal(source.mask(image_id), expected)
    with Image.open(folder / "SegmentationClassAug" / "2008_000002.png") as mask:
        assert mask.mode == "P"
        assert bytes(mask.getpalette()) == voc_palette()
    rows = list(csv.reader((folder / "image_labels.csv").open()))
    assert rows[0] == ["image", "classes"]
    assert rows[2] == ["2007_000033.jpg", "cat"]
    assert rows[3] == ["2008_000002.jpg", "aeroplane;person"]
    assert len(rows) == 1 + len(official.VOC_IMAGES)
    (folder / "classes.txt").write_text("\n".join(source.class_names))
    table = Folder(folder, images="JPEGImages", labels="image_labels.csv")  # `labels.csv` of own data
    assert all(np.array_equal(table.labels(image_id), source.labels(image_id)) for image_id in AUG)

    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG)
    monkeypatch.setenv("WSSS_DATA", str(tmp_path / "root"))
    assert main(["data", "check", "--config", str(config)]) == 0, capsys.readouterr().out


def test_a_killed_run_goes_on_and_ends_with_the_same_files(prepare, folder, monkeypatch):
    written, files = [], itertools.count()

    def killed(path, content):
        if next(files) >= 12:
            (folder / "JPEGImages").mkdir(exist_ok=True)
            (folder / "JPEGImages" / ".0123456789abcdef.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        writing.store(path, content)
        written.append(path)

    monkeypatch.setattr(unpacking, "store", killed)
    assert prepare("voc")[0] == 130
    monkeypatch.undo()
    before = {path: path.stat().st_mtime_ns for path in written}
    status, out, _ = prepare("voc")
    assert status == 0
    assert "in 13 files to write" in out
    assert "(12 others are there and are compared)" in out
    assert before == {path: path.stat().st_mtime_ns for path in written}
    assert not list(folder.rglob("*.tmp"))
    complete = {name: (folder / name).stat().st_mtime_ns for name in file_names(folder)}

    status, out, _ = prepare("voc")  # all is there: nothing is written
    assert status == 0
    assert "in 0 files to write" in out
    assert complete == {name: (folder / name).stat().st_mtime_ns for name in file_names(folder)}


def test_half_a_set(prepare, folder, tmp_path):
    sbd = tmp_path / "archives" / "benchmark.tgz"
    kept = sbd.read_bytes()
    sbd.unlink()
    status, _, err = prepare("voc")
    assert status == 1
    assert "has VOCtrainval_11-May-2012.tar; missing: benchmark.tgz (1.42 GB, https://www2.eecs" in err
    assert "--partial to do without train_aug.txt and SegmentationClassAug (benchmark.tgz)" in err
    assert not (folder / "JPEGImages").exists()

    status, out, _ = prepare("voc", "--partial")
    assert status == 0
    assert "without train_aug.txt and SegmentationClassAug" in out
    assert not (folder / "SegmentationClassAug").exists()
    assert VOC(folder).ids("train") == official.VOC_TRAIN

    sbd.write_bytes(kept)  # the rest, later
    assert prepare("voc")[0] == 0
    assert VOC(folder).ids("train_aug") == AUG

    (tmp_path / "archives" / "VOCtrainval_11-May-2012.tar").unlink()
    status, _, err = prepare("voc", "--partial")
    assert status == 1
    assert "missing: VOCtrainval_11-May-2012.tar" in err
    assert "--partial" not in err  # nothing can be made of SBD alone


@pytest.mark.parametrize("name", ["JPEGImages/2008_000002.jpg", "SegmentationClassAug/2008_000002.png"])
def test_other_files_of_the_same_name_are_not_overwritten(prepare, folder, name):
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_bytes(official.png(official.voc_mask("2008_000002")))
    content = path.read_bytes()
    status, _, err = prepare("voc")
    assert status == 1
    assert f"{path} is there already with other content; nothing is overwritten" in err
    assert path.read_bytes() == content


def test_an_equal_mask_in_another_encoding_is_kept(prepare, folder):
    path = folder / "SegmentationClassAug" / "2008_000002.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(official.grey(official.sbd_mask("2008_000002")))
    assert prepare("voc")[0] == 0
    with Image.open(path) as mask:
        assert mask.mode == "L"
    assert np.array_equal(read_mask(path), official.sbd_mask("2008_000002"))
