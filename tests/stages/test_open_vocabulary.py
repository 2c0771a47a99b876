"""Open-vocabulary methods: trained on captions without classes, they predict the classes of any source."""

import shutil

import numpy as np
import paths
import pytest
import torch
import yaml

from wsss_bench.artifacts.files import read_mask
from wsss_bench.artifacts.layout import LAST
from wsss_bench.methods.base import check_checkpoint
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages import fit, predict

pytestmark = pytest.mark.slow

FOLDER = read_configs(paths.CONFIGS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory, mini_data):
    """TCL after two steps on the shards of the mini world, and two images of it to predict on."""
    folder = tmp_path_factory.mktemp("open")
    shutil.copytree(mini_data / "mini/voc", folder / "voc")
    (folder / "voc/ImageSets/Segmentation/val.txt").write_text("val_000000\nval_000001\n")
    content = FOLDER.method("tcl", "mini_pairs", FOLDER.trainer("cpu"))
    config = {
        "seed_everything": 0,
        "model": {"class_path": content.model.class_path, "init_args": content.model.init_args},
        "data": {**content.data, **FOLDER.data("mini_pairs").data, "global_batch_size": 8, "epoch_length": 1},
        "trainer": {**content.trainer, "max_epochs": 2},
        "out": str(folder / "train"),
    }
    assert fit.main(["--config", str(write(folder, config))]) == 0
    return folder, config, content


def write(folder, config):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_epochs_are_as_short_as_they_are_set(stage):
    folder, _, _ = stage
    checkpoint = torch.load(folder / "train" / LAST, weights_only=True)
    assert (checkpoint["global_step"], checkpoint["epoch"]) == (2, 1)  # epochs count from 0
    assert checkpoint["wsss_bench"]["class_names"] == []


@pytest.mark.parametrize("background", [True, False])
def test_other_classes_are_predicted_with_and_without_background(stage, tmp_path, background):
    folder, config, content = stage
    source = {
        "class_path": "wsss_bench.data.sources.voc.VOC",
        "init_args": {"root": str(folder / "voc"), "vocabulary": "mini", "background": background},
    }
    model = {**config["model"], "init_args": {**config["model"]["init_args"]}}
    model["init_args"]["mask_inference"] = {
        **model["init_args"]["mask_inference"],
        "background": 0.999,
    }  # all of it, if there is any
    prediction = {
        "seed_everything": 0,
        "model": model,
        "data": {"source": source, "view": "caption"},
        "trainer": FOLDER.trainer("cpu"),
        "inference": content.inference,
        "checkpoint": str(folder / "train"),
        "product": "segmentation",
        "split": "val",
        "scales": [1.0],
        "out": str(tmp_path / "masks"),
    }
    assert predict.main(["--config", str(write(tmp_path, prediction))]) == 0
    masks = [read_mask(path) for path in sorted((tmp_path / "masks/masks").rglob("*.png"))]
    assert len(masks) >= 4
    values = np.unique(np.concatenate([mask.ravel() for mask in masks]))
    assert values.tolist() == [0] if background else values.min() >= 1


def test_a_method_of_fixed_classes_refuses_others():
    checkpoint = {"wsss_bench": {"method": "a.B", "class_names": ["cat"]}}
    check_checkpoint(checkpoint, "a.B", None)
    with pytest.raises(ValueError, match=r"has 1 classes \(cat\), the data source has 1 \(dog\)"):
        check_checkpoint(checkpoint, "a.B", ("dog",))
