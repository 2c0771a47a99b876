"""COCO, PASCAL Context, ADE20K, Cityscapes and COCO-Stuff: from the archives to what the sources read."""

import csv
import json
import stat
import zipfile

import numpy as np
import official_archives as official
import pytest

from wsss_bench import vocabulary
from wsss_bench.artifacts.files import file_names
from wsss_bench.cli import main
from wsss_bench.data.prepare.context_json import CATEGORY_IDS, ContextJson
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.context import PascalContext
from wsss_bench.data.sources.openvocab import ADE20K, Cityscapes, COCOObject, COCOStuff

COCO_CONFIG = """
data:
  source: {class_path: wsss_bench.data.sources.coco.COCO, init_args: {root: "${WSSS_DATA}/coco"}}
protocol: {dataset: coco, train_split: train, eval_splits: [val], counts: {train: 1, val: 1}}
"""


def test_coco(prepare, tmp_path, monkeypatch, capsys):
    official.write_coco(tmp_path / "archives")
    status, out, _ = prepare("coco")
    assert status == 0
    assert "split train: 1 images" in out  # the other one has nothing but a crowd
    folder = tmp_path / "root" / "coco"
    source = COCO(folder)
    assert source.ids("val") == ["COCO_val2014_000000000042"]
    assert source.mask("COCO_val2014_000000000042").max() == vocabulary.load("coco").index("dog") + 1
    assert source.captions("COCO_train2014_000000000009") == ("a dog",)
    with open(folder / "image_labels_train.csv") as file:
        assert list(csv.reader(file))[1:] == [["COCO_train2014_000000000009.jpg", "dog"]]
    assert not [name for name in file_names(folder) if "keypoints" in name]
    config = tmp_path / "tiny.yaml"
    config.write_text(COCO_CONFIG)
    monkeypatch.setenv("WSSS_DATA", str(tmp_path / "root"))
    assert main(["data", "check", "--config", str(config)]) == 0, capsys.readouterr().out


def test_coco_without_train(prepare, tmp_path):
    official.write_coco(tmp_path / "archives")
    (tmp_path / "archives" / "train2014.zip").unlink()
    status, out, _ = prepare("coco", "--partial")
    assert status == 0
    assert "without the split train (train2014.zip)" in out
    assert COCO(tmp_path / "root" / "coco").ids("val")
    (tmp_path / "archives" / "val2014.zip").unlink()
    status, _, err = prepare("coco", "--partial")
    assert status == 1
    assert "has annotations_trainval2014.zip; missing: train2014.zip" in err


def test_context(prepare, tmp_path):
    official.write_context(tmp_path / "archives")
    status, out, err = prepare("context")
    assert status == 0, err
    assert "next: " in out
    assert "data check --config context60 (it serves context59 too)" in out
    source = PascalContext(tmp_path / "root" / "VOCdevkit" / "VOC2010")
    assert source.ids("val") == ["2008_000002", "2008_000003"]
    assert source.ids("train") == ["2010_000001"]
    value = {name: c + 1 for c, name in enumerate(vocabulary.load("context"))}
    # in the order of the file: building everywhere, sky in a box, an aeroplane over it
    first, second = source.mask("2008_000002"), source.mask("2008_000003")
    assert first.shape == official.size_of("2008_000002")
    assert first[0, 0] == value["building"]
    assert first[150, 100] == value["sky"]
    assert first[350, 100] == value["aeroplane"]
    assert second[150, 100] == value["aeroplane"]


def test_the_category_ids_are_those_of_the_vocabulary():
    """The twenty classes of VOC, whose ids the detail API lists in VOC's order."""
    of_voc = [2, 23, 25, 31, 34, 45, 59, 65, 72, 98, 397, 113, 207, 258, 284, 308, 347, 368, 416, 427]
    names = [vocabulary.load("context")[CATEGORY_IDS.index(number)] for number in of_voc]
    assert names == [{"diningtable": "table"}.get(name, name) for name in vocabulary.load("voc")]
    assert len(CATEGORY_IDS) == len(vocabulary.load("context"))


def test_a_context_json_of_another_kind(tmp_path):
    content = official.context_json(["2008_000002", "2008_000003"])
    path = tmp_path / "trainval_merged.json"

    def written(change):
        other = json.loads(json.dumps(content))
        change(other)
        path.write_text(json.dumps(other))
        members = ContextJson(path)
        return list(members.read({member.name for member in members.members()}))

    assert len(written(lambda other: None)) == 4
    with pytest.raises(ValueError, match="no lists `images` and `annos_segmentation`"):
        written(lambda other: other.pop("annos_segmentation"))
    with pytest.raises(ValueError, match="an entry without the key or the image 'phase'"):
        written(lambda other: other["images"][0].pop("phase"))
    with pytest.raises(
        ValueError, match="annotation 1 of image '2008_000002' has the category 5, none of the"
    ):
        written(lambda other: other["annos_segmentation"][0].update(category_id=5))
    with pytest.raises(ValueError, match="annotation 2 of image '2008_000002': run lengths of size"):
        written(lambda other: other["annos_segmentation"][1]["segmentation"].update(size=[3, 4]))


def test_ade20k(prepare, tmp_path):
    official.write_ade20k(tmp_path / "archives")
    assert prepare("ade20k")[0] == 0
    source = ADE20K(tmp_path / "root" / "ADEChallengeData2016")
    assert source.ids("val") == ["ADE_val_00000001", "ADE_val_00000002"]
    assert np.unique(source.mask("ADE_val_00000001")).tolist() == [150]
    assert not (source.root / "images" / "training").exists()


def test_cityscapes(prepare, tmp_path):
    status, _, err = prepare("cityscapes", "--download")
    assert status == 1
    assert "ask for an account: log in with a browser" in err
    official.write_cityscapes(tmp_path / "archives")
    assert prepare("cityscapes")[0] == 0
    source = Cityscapes(tmp_path / "root" / "cityscapes")
    assert source.ids("val") == ["frankfurt_000000_000294"]
    assert np.unique(source.mask("frankfurt_000000_000294")).tolist() == [1]
    assert len([name for name in file_names(source.root) if name.endswith(".png")]) == 2


def test_coco_stuff(prepare, tmp_path):
    official.write_coco_stuff(tmp_path / "archives")
    assert prepare("coco-stuff")[0] == 0
    root = tmp_path / "root" / "coco"
    assert np.unique(COCOStuff(root).mask("000000000139")).tolist() == [171]
    assert COCOObject(root).ids("val") == ["000000000139"]
    assert not (root / "stuffthingmaps" / "train2017").exists()


def test_a_broken_member_of_a_zip(prepare, tmp_path):
    official.write_coco_stuff(tmp_path / "archives")
    path = tmp_path / "archives" / "val2017.zip"
    content = bytearray(path.read_bytes())
    content[200] ^= 255  # in the picture, which is stored as it is
    path.write_bytes(content)
    status, _, err = prepare("coco-stuff")
    assert status == 1
    assert "val2017.zip is broken (Bad CRC-32" in err


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR])
def test_a_link_in_a_zip(prepare, tmp_path, mode):
    official.write_coco_stuff(tmp_path / "archives")
    info = zipfile.ZipInfo("val2017/000000000285.jpg")
    info.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "archives" / "val2017.zip", "a") as archive:
        archive.writestr(info, "/etc/passwd")
    status, _, err = prepare("coco-stuff")
    assert status == 1
    assert "'val2017/000000000285.jpg' is a link, a device or encrypted" in err


def test_a_zip_member_that_leads_out(prepare, tmp_path):
    official.write_ade20k(tmp_path / "archives")
    with zipfile.ZipFile(tmp_path / "archives" / "ADEChallengeData2016.zip", "a") as archive:
        archive.writestr("ADEChallengeData2016/images/validation/../../../../evil.jpg", b"evil")
    status, _, err = prepare("ade20k")
    assert status == 1
    assert "leads out of the folder" in err
