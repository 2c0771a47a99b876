import json
import os

import numpy as np
import pytest
from jsonargparse import ArgumentError
from PIL import Image
from project import DATA, METHODS

from wsss_bench.artifacts.files import read_mask, write_mask
from wsss_bench.data import reading
from wsss_bench.data.check import check, load_source
from wsss_bench.data.command import main
from wsss_bench.data.sources.base import unknown_values, values_in
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.voc import VOC
from wsss_bench.errors import explain
from wsss_bench.plan.schema import ConfigError

PROTOCOL = {
    "train_split": "train",
    "eval_splits": ["val"],
    "counts": {"train": 10, "train_aug": 10, "val": 5},
}

WANTED = reading.Wanted(labels=True, masks={f"train_{k}" for k in range(10)})


def test_a_sound_data_set(voc_root):
    findings = check(VOC(voc_root, vocabulary="mini"), PROTOCOL, "train_aug")
    assert findings.problems == []
    assert findings.counts == {"train_aug": 10, "train": 10, "val": 5}
    # classes k % 4, and 4, for k = 0, 3, 6, 9 of the ten
    assert findings.histogram["train"].tolist() == [3, 3, 2, 2, 4, 0, 0, 0]
    assert findings.unlabelled == {"train_aug": 0, "train": 0, "val": 0}
    assert findings.disagree == []


def test_all_that_is_wrong_is_listed_at_once(voc_root):
    (voc_root / "Annotations" / "train_1.xml").unlink()
    picture = voc_root / "JPEGImages" / "train_2.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    write_mask(voc_root / "SegmentationClass", "val_0", np.full((40, 56), 77, np.uint8))
    write_mask(voc_root / "SegmentationClass", "val_1", np.full((48, 36), 8, np.uint8))
    (voc_root / "ImageSets" / "Segmentation" / "train_aug.txt").write_text("train_1\nval_0\n")
    findings = check(VOC(voc_root, vocabulary="mini"), PROTOCOL, "train_aug")
    found = "\n".join(findings.problems)
    for expected in (
        "split 'train_aug' has 2 images, the protocol expects 10",
        "split 'train', on which seeds are scored, has 9 images that are not in 'train_aug'",
        "splits 'train_aug' and 'val' share 1 images, such as 'val_0'",
        "image 'train_1' has no annotation",
        "train_2.jpg cannot be decoded",
        "holds the values [77]",
    ):
        assert expected in found
    assert len(findings.problems) == 6
    assert findings.disagree == ["val_1"]


def test_command_prints_the_table_and_returns_one_for_problems(voc_root, tmp_path, capsys):
    config = tmp_path / "own.yaml"
    config.write_text(
        "data:\n  source:\n    class_path: wsss_bench.data.sources.voc.VOC\n"
        f"    init_args: {{root: {voc_root}, vocabulary: mini}}\n"
        "protocol: {dataset: own, train_split: train, eval_splits: [val], counts: {train: 10, val: 6}}\n"
    )
    assert main(["check", "--config", str(config)]) == 1
    printed = capsys.readouterr().out
    assert "aeroplane" in printed
    assert "split 'val' has 5 images, the protocol expects 6" in printed
    config.write_text(config.read_text().replace("val: 6", "val: 5"))
    assert main(["check", "--config", str(config)]) == 0


def test_masks_of_full_supervision_are_read_and_told_apart(voc_root):
    """Of train_aug only train is scored; what is wrong with the others stops full supervision alone."""
    lists = voc_root / "ImageSets" / "Segmentation"
    lists.joinpath("train.txt").write_text("train_0\ntrain_1\n")
    folders = {"train": "SegmentationClass", "val": "SegmentationClass", "train_aug": "SegmentationClassAug"}
    source, protocol = VOC(voc_root, "mini", masks=folders), PROTOCOL | {"counts": {"train": 2}}
    findings = check(source, protocol, "train_aug")
    assert findings.problems == []
    assert len(findings.full_supervision) == 8
    assert "SegmentationClassAug/train_2.png" in findings.full_supervision[0]
    assert len(check(source, protocol, "train_aug", full_supervision=True).problems) == 8


def test_splits_without_masks_are_not_looked_for(folder_root):
    protocol = {"train_split": "train", "eval_splits": ["val"], "counts": {}, "unscored": ["train", "val"]}
    findings = check(Folder(folder_root), protocol, "train")
    assert findings.problems == []
    assert len(findings.full_supervision) == 3


def test_masks_of_instances_are_recognised(voc_root):
    for split, number in (("train", 10), ("val", 5)):
        for k in range(number):
            path = voc_root / "SegmentationClass" / f"{split}_{k}.png"
            mask = read_mask(path)
            instances = np.zeros_like(mask)
            for instance, value in enumerate(np.setdiff1d(mask, [0, 255]), start=1):
                instances[mask == value] = instance
            write_mask(path.parent, path.stem, instances)
    findings = check(VOC(voc_root, "mini"), PROTOCOL, "train_aug")
    assert any("not instances (SegmentationObject)" in sentence for sentence in findings.by_part["classes"])


def test_many_images_are_read_by_several_processes(voc_root, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    alone = [reading.read(VOC(voc_root, "mini"), f"train_{k}", WANTED) for k in range(10)]
    ids = [f"train_{k}" for k in range(10)]
    (voc_root / "Annotations" / "train_4.xml").unlink()
    together = list(reading.read_all(VOC(voc_root, "mini"), ids, WANTED))
    assert [one.problems.keys() for one in together] == [{"labels"} if k == 4 else set() for k in range(10)]
    assert all(
        (a.shown == b.shown).all() for k, (a, b) in enumerate(zip(alone, together, strict=True)) if k != 4
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 4), (3, 3), (5, 13), (40, 60)])
def test_all_values_of_a_mask_are_found(shape):
    rng = np.random.default_rng(0)
    for kind in ("noise", "one pixel", "areas"):
        mask = rng.integers(0, 256, shape, np.uint8)
        if kind == "one pixel":
            mask = np.where(np.arange(mask.size).reshape(shape) == rng.integers(mask.size), mask, np.uint8(3))
        if kind == "areas":
            mask = np.repeat(mask[:, :1], shape[1], axis=1)
        for layout in (mask, mask.T, mask[:, ::-1]):
            assert np.flatnonzero(values_in(layout)).tolist() == np.unique(mask).tolist()
        for classes in (1, 20, 254):
            unknown = [value for value in np.unique(mask) if classes < value < 255]
            assert unknown_values(mask, classes) == unknown


def test_findings_are_written_as_json(voc_root, tmp_path, capsys):
    picture = voc_root / "JPEGImages" / "train_2.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(picture) as image:
        image.rotate(90, expand=True).save(picture, exif=exif)
    for k in range(5):
        (voc_root / "SegmentationClass" / f"val_{k}.png").unlink()
    for k in range(3, 6):
        (voc_root / "Annotations" / f"train_{k}.xml").unlink()
    config = tmp_path / "own.yaml"
    config.write_text(
        "data:\n  source:\n    class_path: wsss_bench.data.sources.voc.VOC\n"
        f"    init_args: {{root: {voc_root}, vocabulary: mini}}\n"
        "protocol: {dataset: own, train_split: train, eval_splits: [val], counts: {train: 10, val: 7}}\n"
    )
    assert main(["check", "--config", str(config), "--json", str(tmp_path / "f.json")]) == 1
    found = json.loads((tmp_path / "f.json").read_text())["own"]
    assert not found["sound"]
    assert {part: len(sentences) for part, sentences in found["problems"].items()} == {
        "lists": 1,
        "masks": 5,
        "labels": 3,
    }
    assert found["turned"] == ["train_2"]
    assert found["classes"]["val"]["aeroplane"] == 1
    printed = capsys.readouterr().out
    assert "1 image is turned by the orientation in its header (EXIF), train_2" in printed
    assert "labels: 3 problems:" in printed


def test_a_config_without_protocol_is_answered_with_the_block_to_add(tmp_path):
    config = tmp_path / "leaves.yaml"
    config.write_text("data: {source: {class_path: wsss_bench.data.sources.folder.Folder}}\n")
    block = (
        r"protocol: \{dataset: leaves, train_split: train, eval_splits: \[val\], counts: \{train: N, val: N"
    )
    with pytest.raises(ConfigError, match=r"leaves\.yaml: the block `protocol` is missing.*" + block):
        main(["check", "--config", str(config)])
    config.write_text(config.read_text() + "protocol: {dataset: oak, eval_splits: [test]}\n")
    with pytest.raises(ConfigError, match=r"lacks a key.*dataset: oak, .*eval_splits: \[test\]"):
        main(["check", "--config", str(config)])


def test_the_check_of_an_experiment_knows_whether_masks_are_learnt_from(project, voc_root, tmp_path):
    source = {"class_path": "wsss_bench.data.sources.voc.VOC"}
    source["init_args"] = {"root": str(voc_root), "vocabulary": "mini"}
    data = {"data": {"source": source, "train_split": "train_aug"}, "protocol": DATA["protocol"] | PROTOCOL}
    project.write("configs/data/toy.yaml", data)
    full = {"model": {"class_path": "fake.Full"}, "data": {"view": "mask"}, "bench": METHODS["full"]["bench"]}
    project.write("configs/methods/full.yaml", full)
    (voc_root / "ImageSets" / "Segmentation" / "train.txt").write_text("train_0\ntrain_1\ntrain_2\n")
    data["protocol"]["counts"] = {"train": 3, "train_aug": 10, "val": 5}
    project.write("configs/data/toy.yaml", data)
    (voc_root / "SegmentationClass" / "train_5.png").unlink()
    assert main(["check", "--experiment", str(project.experiment(methods=["cam"]))]) == 0
    assert main(["check", "--experiment", str(project.experiment(methods=["cam", "full"]))]) == 1


def test_typo_in_the_config_of_a_source(voc_root):
    config = {"class_path": "wsss_bench.data.sources.voc.VOC", "init_args": {"rot": str(voc_root)}}
    with pytest.raises(ArgumentError) as caught:
        load_source(config)
    assert "VOC has no option 'rot'; did you mean 'root'?" in str(explain(caught.value))


def test_coco_masks_command_prints_the_hash(coco_root, tmp_path, capsys):
    arguments = [
        "--root",
        str(coco_root),
        "--split",
        "val",
        "--vocabulary",
        "mini",
        "--out",
        str(tmp_path / "masks"),
    ]
    assert main(["coco-masks", *arguments]) == 0
    assert capsys.readouterr().out == (tmp_path / "masks" / "val.sha256").read_text()
