"""`wsss-bench score`, and the way of imported seeds through a refiner to an export."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest
from PIL import Image
from voc_world import CLASSES, TRAIN, VAL, cams, save, truth, write_world

from wsss_bench.artifacts.files import write_mask
from wsss_bench.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), holdout=1)


@pytest.mark.slow
def test_the_protocol_of_the_data_set_says_what_is_scored(data, tmp_path, capsys):
    write_mask(tmp_path / "masks", VAL[0], np.where(truth(VAL[0]) == 3, np.uint8(7), truth(VAL[0])))
    words = ["--masks", str(tmp_path / "masks"), "--data", str(data)]
    assert main(["score", *words, "--post", "crf", "--out", str(tmp_path / "scores")]) == 0
    said = capsys.readouterr().out
    assert "tiny-val/n1/labels-none/ss/crf/thr-na/last: mIoU" in said
    source = ["--source.class_path=VOC", f"--source.init_args.root={data.parent / 'VOC2012'}"]
    assert main(["evaluate", *words[:2], *source, "--split", "val", "--dataset=tiny", "--post=crf"]) == 0
    assert said == capsys.readouterr().out
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert (metrics["dataset"], metrics["product"]) == ("tiny", "segmentation")

    for image_id in TRAIN:
        write_mask(tmp_path / "masks", image_id, truth(image_id))
    assert main(["score", *words, "--split", "train"]) == 0
    assert (
        "tiny-train/n3/labels-given/ss/raw/thr-na/last: mIoU 100.00, which ranks\n" in capsys.readouterr().out
    )
    assert main(["score", *words, "--split", "train", "--image-labels", "none", "--scales", "ms"]) == 0
    assert "tiny-train/n3/labels-none/ms/raw/thr-na/last" in capsys.readouterr().out
    data.write_text(data.read_text().replace("train: 3", "train: 4"))
    assert main(["score", *words, "--split", "train"]) == 1
    assert "split 'train' has 3 images, the protocol says 4" in capsys.readouterr().err
    data.write_text(data.read_text().replace("train: 4", "train: 3"))


@pytest.mark.slow
def test_imported_seeds_are_scored_refined_and_exported(data, tmp_path, capsys):
    for image_id in TRAIN:
        save(tmp_path / "cams", image_id, {"keys": np.array(CLASSES[image_id]), "high_res": cams(image_id)})
    seeds, named = str(tmp_path / "seeds"), ["--data", str(data)]
    cams_folder = str(tmp_path / "cams")
    assert main(["import", "seeds", "--cams", cams_folder, *named, "--split", "train", "--out", seeds]) == 0
    assert main(["score", "--seeds", seeds, *named, "--threshold", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "tiny-train/n3/labels-given/ss/raw/thr-fixed-0.10/last: mIoU" in said
    assert "tiny-train/n2/labels-given/ss/raw/thr-heldout/last: mIoU 100.00" in said
    assert "tiny-train/n3/labels-given/ss/raw/thr-oracle/last: mIoU 100.00" in said

    source = ["--source.class_path=VOC", f"--source.init_args.root={data.parent / 'VOC2012'}"]
    refiner = ["--refiner.class_path=Threshold", "--refiner.init_args.threshold=0.5", "--workers=0"]
    refined = str(tmp_path / "refined")
    assert main(["refine", *source, *refiner, "--split=train", f"--seeds={seeds}", f"--out={refined}"]) == 0
    assert main(["export", "pseudo-masks", refined, "--out", str(tmp_path / "masks.tar")]) == 0
    with (
        tarfile.open(tmp_path / "masks.tar") as archive,
        Image.open(archive.extractfile("masks/odd/a.png")) as image,
    ):
        np.testing.assert_array_equal(np.asarray(image), truth("odd/a"))


def test_a_score_of_seeds_needs_a_threshold_before_anything_is_imported(data, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["score", "--seeds", "anywhere", "--data", str(data)])
    assert "--seeds needs --threshold" in capsys.readouterr().err
