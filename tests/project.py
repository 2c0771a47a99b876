"""A project folder with small configurations. Its stages are those of `fakes`, which need no torch."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from wsss_bench.plan import search_path

METHODS = {
    "cam": {
        "model": {"class_path": "fake.CAM", "init_args": {"width": 8}},
        "data": {"view": "image", "global_batch_size": 16},
        "trainer": {"max_epochs": 5},
        "inference": {"scales": [1.0, 0.5], "flip": True},
        "bench": {
            "pipeline": "multi_stage",
            "supervision": "image",
            "backbone": "R50",
            "threshold": 0.15,
            "paper": [
                {
                    "dataset": "toy",
                    "split": "train",
                    "product": "seed",
                    "miou": 48.3,
                    "rule": "fixed",
                    "source": "X",
                }
            ],
        },
    },
    "clims": {
        "model": {"class_path": "fake.CLIMS"},
        "bench": {
            "pipeline": "multi_stage",
            "supervision": "image+text",
            "backbone": "R50",
            "threshold": 0.2,
            "extra": ["clip"],
            "warm_start": "cam",
        },
    },
    "zero": {
        "model": {"class_path": "fake.Zero"},
        "bench": {
            "pipeline": "zero_shot",
            "trains": False,
            "supervision": "none",
            "backbone": "ViT",
            "threshold": 0.5,
        },
    },
    "full": {
        "model": {"class_path": "fake.Full"},
        "bench": {"pipeline": "upper_bound", "supervision": "mask", "backbone": "R50"},
    },
}
DATA = {
    "data": {"source": {"class_path": "fake.VOC", "init_args": {"root": "${WSSS_DATA}/toy"}}},
    "protocol": {
        "dataset": "toy",
        "train_split": "train",
        "eval_splits": ["val", "val_ood"],
        "holdout": 2,
        "counts": {"train": 10, "val": 4, "val_ood": 4},
        "scales": [0.75, 1.0],
        "crf": {"iterations": 1},
    },
}
EXPERIMENT = {
    "methods": ["cam", "zero", "full"],
    "data": ["toy"],
    "random_seeds": [0],
    "refiners": ["threshold"],
}


class Project:
    """A project folder: `configs`, `experiments` and `runs`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        for name, content in METHODS.items():
            self.write(f"configs/methods/{name}.yaml", content)
        self.write("configs/data/toy.yaml", DATA)
        self.write("configs/trainer/cpu.yaml", {"trainer": {"accelerator": "cpu", "devices": 1}})
        self.write(
            "configs/refine/threshold.yaml",
            {"refiner": {"class_path": "fake.Threshold", "init_args": {"threshold": None}}},
        )

    def write(self, name: str, content: object) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    def copy_to(self, root: Path) -> Project:
        """The project with all results in another folder."""
        shutil.copytree(self.root, root)
        other = copy.copy(self)
        other.root, other.runs = root, root / "runs"
        return other

    def experiment(self, name: str = "toy", **changes: object) -> Path:
        return self.write(f"experiments/{name}.yaml", {**EXPERIMENT, **changes})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that stands alone, without the shipped configurations, of which some have its names."""
    monkeypatch.setattr(search_path, "CONFIGS", tmp_path / "nothing_shipped" / "configs")
    return Project(tmp_path)
