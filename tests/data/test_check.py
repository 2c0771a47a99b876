import numpy as np
import pytest
from jsonargparse import ArgumentError

from wsss_bench.artifacts.files import write_mask
from wsss_bench.data.check import check, load_source
from wsss_bench.data.command import main
from wsss_bench.data.sources.voc import VOC
from wsss_bench.errors import explain

PROTOCOL = {
    "train_split": "train",
    "eval_splits": ["val"],
    "counts": {"train": 10, "train_aug": 10, "val": 5},
}


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
