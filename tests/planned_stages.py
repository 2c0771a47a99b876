"""Small planned stages of every command, for tests that run them by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wsss_bench.plan.plan import Stage, StageFolder
from wsss_bench.plan.stage_table import StageTable


def network(source: dict[str, Any]) -> dict[str, Any]:
    """CAM with a small random network, a step of which takes milliseconds."""
    return {
        "seed_everything": 1,
        "model": {
            "class_path": "wsss_bench.methods.cam.CAM",
            "init_args": {
                "backbone": "package:mini2/resnet.json",
                "weights": None,
                "freeze_bn": False,
                "frozen_stages": 0,
                "optim": {"name": "adamw", "lr": 1e-3},
            },
        },
        "data": {
            "source": source,
            "global_batch_size": 4,
            "val_split": None,
            "transform": {"crop_size": 32, "resize_long": [32, 40]},
        },
        "trainer": {"accelerator": "cpu", "devices": 1},
    }


def voc(root: Path) -> dict[str, Any]:
    """The source of the tiny VOC tree."""
    arguments = {"root": str(root), "vocabulary": "mini"}
    return {"class_path": "wsss_bench.data.sources.voc.VOC", "init_args": arguments}


def fit_config(root: Path) -> dict[str, Any]:
    """A training of two epochs."""
    config = network(voc(root))
    config["trainer"]["max_epochs"] = 2
    return config


def seed_config(root: Path, checkpoint: Path | None) -> dict[str, Any]:
    """The seeds of the training images."""
    return {
        **network(voc(root)),
        "checkpoint": str(checkpoint) if checkpoint else None,
        "product": "seed",
        "split": "train",
        "inference": {"scales": [1.0], "flip": False},
    }


def refine_config(root: Path, seeds: Path) -> dict[str, Any]:
    """Masks by a threshold."""
    refiner = {"class_path": "wsss_bench.refine.threshold.ThresholdRefiner", "init_args": {"threshold": 0.3}}
    return {"source": voc(root), "split": "train", "seeds": str(seeds), "refiner": refiner}


def evaluate_config(root: Path, masks: Path) -> dict[str, Any]:
    """The score of masks."""
    return {"source": voc(root), "split": "train", "masks": str(masks), "count": 10}


def plan_stage(
    runs: Path, kind: str, config: dict[str, Any], facts: dict[str, Any] | None = None, **reads: Stage
) -> Stage:
    """Plan a stage as the bench does, and write its `plan.yaml`."""
    stage = StageTable("toy", StageFolder(runs), {}).stage(kind, "toy", config, reads, facts=facts)
    stage.write_plan()
    return stage
