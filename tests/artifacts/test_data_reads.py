"""Which data a stage reads, told from its configuration alone."""

from __future__ import annotations

import json

import pytest

from wsss_bench.artifacts.data_reads import COMBINED, DataRead, data_reads
from wsss_bench.artifacts.data_record import Recorded, read_record, write_record

SOURCE = {"class_path": "fake.VOC", "init_args": {"root": "r"}}

OWN = {"class_path": "my_views.Mine"}
"""An own view or kind of transform."""
ALL_PARTS = {"train/labels", "train/captions", "train/masks"}


def names(command, config):
    return {read.name for read in data_reads(command, config)}


def fit(masks=None, **data):
    return {"data": {"source": SOURCE, **data}, "masks": masks}


def both(split):
    return {f"{split}/lists", f"{split}/images"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, both("train") | both("val") | {"train/labels", "val/labels"}),
        ({"view": "mask", "val_split": None}, both("train") | {"train/masks"}),
        ({"view": "caption", "train_split": "t", "val_split": None}, both("t") | {"t/captions"}),
        ({"view": "pair", "val_split": "train"}, both("train") | {"train/labels"}),
        ({"view": "mask", "masks": "folder"}, both("train")),
        ({"view": OWN, "val_split": None}, both("train") | ALL_PARTS),
        ({"view": OWN, "masks": "folder"}, both("train") | ALL_PARTS),
        (
            {"view": {**OWN, "init_args": {"boxes": "a/boxes.json", "side": 3}}, "val_split": None},
            both("train") | ALL_PARTS | {"a/boxes.json"},
        ),
        (
            {"transform": {"kind": {**OWN, "init_args": {"table": "t.csv"}}}, "val_split": None},
            both("train") | {"train/labels", "t.csv"},
        ),
    ],
)
def test_a_training_reads_what_its_view_needs(data, expected):
    assert names("fit", fit(**data)) == expected


def test_pseudo_masks_replace_the_truth_and_the_validation():
    assert names("fit", fit(masks="refine", view="mask")) == both("train")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"product": "seed"}, both("s") | {"s/labels"}),
        ({"product": "segmentation"}, both("s")),
        (
            {"product": "seed", "inference": {"references": 3}},
            both("s") | both("train") | {"s/labels", "train/labels"},
        ),
        ({"product": "segmentation", "inference": {"references": 3}}, both("s")),
    ],
)
def test_a_prediction_reads_labels_for_seeds_only(changes, expected):
    assert names("predict", {**fit(), "split": "s", **changes}) == expected


def test_the_stages_without_a_trainer():
    config = {"source": SOURCE, "split": "s"}
    assert names("refine", config) == both("s")
    assert names("evaluate", config) == {"s/lists", "s/masks"}
    assert names("refine", {**config, "refiner": {"init_args": {"folder": "f"}}}) == both("s") | {"s/maps"}
    assert names("evaluate", {}) == set()  # a source that was built in Python


def test_extra_images_are_a_part_of_the_source():
    extra = {"web": {"source": SOURCE}}
    (source,) = {read.source for read in data_reads("fit", fit(extra_images=extra, train_split="t"))}
    arguments = {"main": SOURCE, "split": "t", "extra_images": extra}
    assert json.loads(source) == {"class_path": COMBINED, "init_args": arguments}


@pytest.mark.slow
def test_the_defaults_are_those_of_the_data_module():
    from inspect import signature
    from typing import get_args

    from wsss_bench.artifacts import data_reads as module
    from wsss_bench.data.datamodule import WSSSDataModule
    from wsss_bench.data.sources.combined import CombinedSource
    from wsss_bench.types import ViewName

    defaults = {name: found.default for name, found in signature(WSSSDataModule).parameters.items()}
    assert [defaults[key] for key in ("view", "train_split", "val_split")] == [
        module.VIEW,
        module.TRAIN_SPLIT,
        module.VAL_SPLIT,
    ]
    assert set(module.PART_OF_VIEW) == set(get_args(ViewName))
    assert f"{CombinedSource.__module__}.{CombinedSource.__qualname__}" == COMBINED


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = {DataRead("{}", "train", "labels"): Recorded("abc", "2026-01-02T03:04:05Z")}
    write_record(tmp_path / "data.json", record)
    assert read_record(tmp_path / "data.json") == record
    assert read_record(tmp_path / "none.json") == {}
    (tmp_path / "data.json").write_text('[{"source": 1}]')
    with pytest.raises(ValueError, match=r"data.json is no record of data .*delete it"):
        read_record(tmp_path / "data.json")


def test_files_that_a_configuration_names_are_read_too():
    model = {
        "class_path": "my.module.Method",
        "init_args": {
            "weights": "own/vit.pth",
            "prompts": ["p.yaml"],
            "clip": "package:mini/clip",
            "lr": 0.1,
        },
    }
    config = {"model": model, "out": "runs/x", "masks": "runs/m", "trainer": {"plugins": ["a.B"]}}
    reads = data_reads("fit", config)
    assert [(read.source, read.name) for read in reads] == [("", "own/vit.pth"), ("", "p.yaml")]
