"""Bad inputs through the command line: one line that names what is wrong, exit status, nothing written."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from wsss_bench.cli import main

pytestmark = pytest.mark.slow

VOC = "wsss_bench.data.sources.voc.VOC"
ZERO_SHOT = "wsss_bench.methods.clip_zeroshot.CLIPZeroShot"
CAM = "wsss_bench.methods.cam.CAM"
TRAINER = {"accelerator": "cpu", "devices": 1, "logger": False}
PROTOCOL = {
    "dataset": "toy",
    "train_split": "train",
    "eval_splits": ["val"],
    "counts": {"train": 10, "val": 5},
    "holdout": 2,
    "scales": [1.0],
}
BENCH = {"pipeline": "multi_stage", "supervision": "image", "backbone": "R10", "threshold": 0.3}


class Place:
    """A working folder with a data set, configurations that are right, and a place for results."""

    def __init__(self, root: Path, voc: Path) -> None:
        self.root = root
        self.out = root / "out"
        self.source = {"class_path": VOC, "init_args": {"root": str(voc), "vocabulary": "mini"}}
        self.voc = voc

    def write(self, name: str, content: Any) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    def stage(self, command: str, **changes: Any) -> list[str]:
        """A command line of a stage, whose configuration is right but for `changes` at dotted keys."""
        config = copy.deepcopy(getattr(self, f"_{command}")())
        for key, value in changes.items():
            *parents, last = key.split("__")
            content = config
            for parent in parents:
                content = content.setdefault(parent, {})
            content[last] = value
        return [command, "--config", self.write("stage.yaml", config)]

    def _fit(self) -> dict[str, Any]:
        return {
            "model": {"class_path": CAM, "init_args": {"backbone": "resnet10t", "weights": None}},
            "data": {
                "source": self.source,
                "global_batch_size": 2,
                "transform": {"crop_size": 32, "resize_long": [32, 40]},
            },
            "trainer": {**TRAINER, "max_epochs": 1},
            "out": str(self.out),
        }

    def _predict(self) -> dict[str, Any]:
        return {**self._fit(), "trainer": TRAINER, "product": "seed", "split": "val", "checkpoint": None}

    def _refine(self) -> dict[str, Any]:
        refiner = "wsss_bench.refine.threshold.ThresholdRefiner"
        return {
            "source": self.source,
            "split": "val",
            "seeds": str(self.root / "seeds"),
            "refiner": {"class_path": refiner, "init_args": {"threshold": 0.3}},
            "out": str(self.out),
        }

    def _crf(self) -> dict[str, Any]:
        predicted = str(self.root / "predicted")
        return {"source": self.source, "split": "val", "probabilities": predicted, "out": str(self.out)}

    def _evaluate(self) -> dict[str, Any]:
        masks = str(self.voc / "SegmentationClass")
        return {"source": self.source, "split": "val", "masks": masks, "out": str(self.out)}

    def bench(self, *options: str, **files: Any) -> list[str]:
        """A dry run of an experiment that is right but for changed files (`method__bench__threshold=2`)."""
        contents = {
            "configs/methods/cam.yaml": {
                "model": self._fit()["model"],
                "data": {key: value for key, value in self._fit()["data"].items() if key != "source"},
                "trainer": {"max_epochs": 1},
                "inference": {"scales": [1.0]},
                "bench": BENCH,
            },
            "configs/data/toy.yaml": {"data": {"source": self.source}, "protocol": PROTOCOL},
            "configs/trainer/cpu.yaml": {"trainer": TRAINER},
            "configs/refine/threshold.yaml": {"refiner": {**self._refine()["refiner"]}},
            "experiments/toy.yaml": {"methods": ["cam"], "data": ["toy"], "refiners": ["threshold"]},
        }
        names = {"method": 0, "data": 1, "trainer": 2, "refiner": 3, "experiment": 4}
        for key, value in files.items():
            file, *parents, last = key.split("__")
            name = list(contents)[names[file]]
            content = contents[name] = copy.deepcopy(contents[name])
            for parent in parents:
                content = content.setdefault(parent, {})
            content[last] = value
        for name, content in contents.items():
            self.write(name, content)
        experiment = str(self.root / "experiments/toy.yaml")
        return ["bench", experiment, "--dry-run", "--runs", str(self.root / "runs"), *options]

    def data_check(self, **changes: Any) -> list[str]:
        content: dict[str, Any] = {"data": {"source": self.source}, "protocol": PROTOCOL}
        for key, value in changes.items():
            *parents, last = key.split("__")
            place = content = copy.deepcopy(content)
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        return ["data", "check", "--config", self.write("data.yaml", content)]

    def checkpoint(self, content: Any) -> str:
        """A train stage whose checkpoint holds this."""
        path = self.root / "train/checkpoints/last.ckpt"
        path.parent.mkdir(parents=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        return str(self.root / "train")


class Case(NamedTuple):
    """A command line and what its answer must name."""

    name: str
    command: Callable[[Place], list[str]]
    named: tuple[str, ...]
    slow: bool = False


def _trained(place: Place, change: Callable[[dict[str, Any]], Any]) -> str:
    from wsss_bench.methods.cam import CAM as Network

    method = Network(
        ("aeroplane", "bird", "boat", "bus", "car", "cow", "sheep", "train"),
        backbone="resnet10t",
        weights=None,
    )
    checkpoint = {
        "state_dict": method.state_dict(),
        "pytorch-lightning_version": "2.6.0",
        "wsss_bench": {"method": CAM, "class_names": list(method.class_names)},
    }
    return place.checkpoint(change(checkpoint))


def _without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda checkpoint: {name: value for name, value in checkpoint.items() if name != key}


def _with_state(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[dict[str, Any]], Any]:
    def changed(checkpoint: dict[str, Any]) -> dict[str, Any]:
        change(checkpoint["state_dict"])
        return checkpoint

    return changed


def _truncated(place: Place) -> str:
    stage = _trained(place, lambda checkpoint: checkpoint)
    path = Path(stage) / "checkpoints/last.ckpt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return stage


COMMAND_LINE = [
    Case("no experiment", lambda p: ["bench"], ("experiment",)),
    Case("absent experiment", lambda p: ["bench", str(p.root / "no.yaml")], ("no.yaml",)),
    Case("experiment is a folder", lambda p: ["bench", str(p.root)], ("is a folder", "YAML file")),
    Case("path through a file", lambda p: ["bench", p.write("a", "x") + "/b.yaml"], ("a/b.yaml",)),
    Case("unknown option", lambda p: ["bench", "x.yaml", "--job", "2", "--foo"], ("--foo",)),
    Case("jobs 0", lambda p: p.bench("--jobs", "0"), ("--jobs", "1 or more")),
    Case("jobs -1", lambda p: p.bench("--jobs", "-1"), ("--jobs",)),
    Case("jobs many", lambda p: p.bench("--jobs", "many"), ("--jobs", "many")),
    Case("table without experiment", lambda p: ["table"], ("experiment",)),
    Case("data without command", lambda p: ["data"], ("command",)),
    Case("data with unknown command", lambda p: ["data", "chek"], ("chek",)),
    Case(
        "data mini with unknown size", lambda p: ["data", "mini", "--root", "x", "--size", "huge"], ("huge",)
    ),
    Case("data check of absent file", lambda p: ["data", "check", "--config", "no.yaml"], ("no.yaml",)),
    Case(
        "coco-masks without annotations",
        lambda p: ["data", "coco-masks", "--root", str(p.root), "--split", "train", "--out", "x"],
        ("annotations",),
    ),
    Case("unknown option of a stage", lambda p: [*p.stage("evaluate"), "--spilt", "val"], ("spilt",)),
    Case("absent configuration", lambda p: ["evaluate", "--config", str(p.root / "no.yaml")], ("no.yaml",)),
]
YAML_FILES = [
    Case(
        "tab in experiment",
        lambda p: ["bench", p.write("experiments/t.yaml", "methods:\n\t- cam\n")],
        ("t.yaml", "line 2"),
    ),
    Case(
        "experiment is latin-1",
        lambda p: ["bench", p.write("t.yaml", b"methods: [\xe9]\n")],
        ("t.yaml", "UTF-8"),
    ),
    Case("experiment is binary", lambda p: ["bench", p.write("t.yaml", b"\x00\x01\x02")], ("t.yaml",)),
    Case("experiment is empty", lambda p: ["bench", p.write("t.yaml", "")], ("t.yaml", "is empty")),
    Case("experiment is a list", lambda p: ["bench", p.write("t.yaml", "[1, 2]")], ("t.yaml", "mapping")),
    Case(
        "key twice",
        lambda p: ["bench", p.write("t.yaml", "data: [a]\ndata: [b]\n")],
        ("t.yaml", "line 2", "data"),
    ),
    Case(
        "python tag",
        lambda p: ["bench", p.write("t.yaml", "a: !!python/object/apply:os.system [ls]")],
        ("t.yaml", "python/object"),
    ),
    Case(
        "open bracket in a stage",
        lambda p: ["evaluate", "--config", p.write("s.yaml", "split: [val\nmasks: m\n")],
        ("s.yaml", "line"),
    ),
    Case(
        "stage is latin-1",
        lambda p: ["evaluate", "--config", p.write("s.yaml", b"split: \xe9\n")],
        ("s.yaml", "UTF-8"),
    ),
    Case("stage is a list", lambda p: ["evaluate", "--config", p.write("s.yaml", "[1]")], ("s.yaml",)),
    Case(
        "open quote in data",
        lambda p: ["data", "check", "--config", p.write("d.yaml", "data: {'a\n")],
        ("d.yaml",),
    ),
    Case(
        "data is latin-1",
        lambda p: ["data", "check", "--config", p.write("d.yaml", b"data: \xe9\n")],
        ("d.yaml", "UTF-8"),
    ),
    Case(
        "data without protocol",
        lambda p: ["data", "check", "--config", p.write("d.yaml", "data: {}")],
        ("d.yaml", "protocol"),
    ),
    Case(
        "data without source",
        lambda p: ["data", "check", "--config", p.write("d.yaml", {"data": {}, "protocol": PROTOCOL})],
        ("d.yaml", "data.source"),
    ),
]
PLAN = [
    Case("unknown method", lambda p: p.bench(experiment__methods=["camm"]), ("camm.yaml", "cam")),
    Case("unknown trainer", lambda p: p.bench(experiment__trainer="gpuu"), ("gpuu", "cpu")),
    Case("unknown refiner", lambda p: p.bench(experiment__refiners=["treshold"]), ("treshold", "threshold")),
    Case("jobs 0 in experiment", lambda p: p.bench(experiment__jobs=0), ("toy.yaml: jobs is 0",)),
    Case("jobs -1 in experiment", lambda p: p.bench(experiment__jobs=-1), ("jobs is -1",)),
    Case(
        "negative random seed",
        lambda p: p.bench(experiment__random_seeds=[0, -1]),
        ("random_seeds[1] is -1",),
    ),
    Case("huge random seed", lambda p: p.bench(experiment__random_seeds=[2**32]), ("random_seeds[0]",)),
    Case("random seed twice", lambda p: p.bench(experiment__random_seeds=[1, 1]), ("random_seeds", "twice")),
    Case(
        "threshold 1.5",
        lambda p: p.bench(method__bench__threshold=1.5),
        ("cam.yaml", "bench.threshold is 1.5", "at most 1"),
    ),
    Case(
        "threshold NaN",
        lambda p: p.bench(method__bench__threshold=float("nan")),
        ("cam.yaml", "bench.threshold is nan"),
    ),
    Case(
        "published mIoU as a fraction of 1000",
        lambda p: p.bench(
            method__bench__paper=[
                {"dataset": "toy", "split": "train", "product": "seed", "miou": 483, "source": "X"}
            ]
        ),
        ("paper[0].miou is 483",),
    ),
    Case(
        "infinite scale",
        lambda p: p.bench(data__protocol__scales=[1.0, float("inf")]),
        ("toy.yaml", "scales[1] is inf"),
    ),
    Case("no scales", lambda p: p.bench(data__protocol__scales=[]), ("protocol.scales is empty",)),
    Case("negative scale", lambda p: p.bench(data__protocol__scales=[-1.0]), ("protocol.scales[0] is -1",)),
    Case(
        "holdout of the whole split",
        lambda p: p.bench(data__protocol__holdout=10),
        ("protocol.holdout is 10", "train"),
    ),
    Case("negative holdout", lambda p: p.bench(data__protocol__holdout=-1), ("protocol.holdout is -1",)),
    Case(
        "count 0",
        lambda p: p.bench(data__protocol__counts={"train": 10, "val": 0}),
        ("protocol.counts.val is 0",),
    ),
    Case("no count", lambda p: p.bench(data__protocol__counts={"train": 10}), ("counts", "val")),
    Case("fast_dev_run", lambda p: p.bench(trainer__trainer__fast_dev_run=True), ("trainer.fast_dev_run",)),
    Case(
        "limit_predict_batches",
        lambda p: p.bench(trainer__trainer__limit_predict_batches=2),
        ("limit_predict_batches",),
    ),
    Case("configs without folder", lambda p: p.bench("--configs", str(p.root / "none")), ("none",)),
]
PARSED = [
    Case(
        "unknown key",
        lambda p: p.stage("fit", model__init_args__outpt_stride=8),
        ("stage.yaml", "outpt_stride", "output_stride"),
    ),
    Case(
        "unknown key of the trainer",
        lambda p: p.stage("fit", trainer__max_epoch=8),
        ("stage.yaml", "max_epoch"),
    ),
    Case(
        "unknown key of a source",
        lambda p: p.stage("evaluate", source__init_args={"rot": "x"}),
        ("stage.yaml", "rot", "root"),
    ),
    Case(
        "unknown class",
        lambda p: p.stage("fit", model__class_path="wsss_bench.methods.cam.CAMM"),
        ("stage.yaml", "CAMM"),
    ),
    Case(
        "unknown module",
        lambda p: p.stage("fit", model__class_path="my_methods.CAM"),
        ("stage.yaml", "my_methods", "PYTHONPATH"),
    ),
    Case("class of another kind", lambda p: p.stage("fit", model__class_path=VOC), ("stage.yaml", VOC)),
    Case(
        "text for a number",
        lambda p: p.stage("fit", data__global_batch_size="many"),
        ("data.global_batch_size", "whole number", "many"),
    ),
    Case("list for a text", lambda p: p.stage("fit", model__init_args__backbone=[1]), ("backbone", "text")),
    Case(
        "unknown optimiser",
        lambda p: p.stage("fit", model__init_args__optim={"name": "adam"}),
        ("optim", "adam", "sgd"),
    ),
    Case(
        "unknown product",
        lambda p: p.stage("predict", product="seeds"),
        ("product", "seeds", "one of 'seed', 'segmentation'"),
    ),
    Case("missing split", lambda p: p.stage("evaluate", split=None), ("split",)),
    Case("unknown precision", lambda p: p.stage("fit", trainer__precision="fp8"), ("precision", "fp8")),
    Case(
        "old name",
        lambda p: p.stage("fit", model__init_args__fixed_batch_norm=True),
        ("stage.yaml", "freeze_bn"),
    ),
    Case(
        "NaN learning rate",
        lambda p: p.stage("fit", model__init_args__optim={"lr": float("nan")}),
        ("lr is nan",),
    ),
    Case(
        "infinite scale in a stage",
        lambda p: p.stage("predict", inference={"scales": [float("inf")]}),
        ("inference.scales[0] is inf",),
    ),
    Case(
        "data check: unknown key",
        lambda p: p.data_check(data__source__init_args={"rot": "x"}),
        ("rot", "root"),
    ),
    Case(
        "data check: unknown class",
        lambda p: p.data_check(data__source={"class_path": "wsss_bench.data.sources.vok.VOC"}),
        ("vok",),
    ),
    Case(
        "data check: list as root",
        lambda p: p.data_check(data__source__init_args__root=["a"]),
        ("root", "expected text"),
    ),
]
BUILT = [
    Case(
        "root does not exist",
        lambda p: p.stage("fit", data__source__init_args__root="/no/where"),
        ("/no/where", "JPEGImages"),
    ),
    Case(
        "unset variable in root",
        lambda p: p.stage("fit", data__source__init_args__root="$NO_SUCH/voc"),
        ("NO_SUCH",),
    ),
    Case(
        "unknown vocabulary",
        lambda p: p.stage("evaluate", source__init_args__vocabulary="vocc"),
        ("vocc", "known"),
    ),
    Case("unknown split", lambda p: p.stage("fit", data__train_split="trainn"), ("trainn", "train_aug")),
    Case("unknown validation split", lambda p: p.stage("fit", data__val_split="valid"), ("valid",)),
    Case("unknown split to predict", lambda p: p.stage("predict", split="test"), ("test",)),
    Case(
        "negative learning rate",
        lambda p: p.stage("fit", model__init_args__optim={"lr": -0.1}),
        ("optim.lr is -0.1",),
    ),
    Case(
        "momentum 2",
        lambda p: p.stage("fit", model__init_args__optim={"momentum": 2.0}),
        ("optim.momentum is 2",),
    ),
    Case("batch of 0", lambda p: p.stage("fit", data__global_batch_size=0), ("data.global_batch_size is 0",)),
    Case(
        "batch larger than the split",
        lambda p: p.stage("fit", data__global_batch_size=64),
        ("64", "10 images"),
    ),
    Case(
        "batch not divisible",
        lambda p: p.stage("fit", data__global_batch_size=3, trainer__devices=2),
        ("3", "2 ranks"),
    ),
    Case("negative workers", lambda p: p.stage("fit", data__num_workers=-1), ("data.num_workers is -1",)),
    Case(
        "crop of 0", lambda p: p.stage("fit", data__transform={"crop_size": 0}), ("transform.crop_size is 0",)
    ),
    Case(
        "reversed range",
        lambda p: p.stage("fit", data__transform={"resize_long": [64, 32]}),
        ("transform.resize_long", "smaller first"),
    ),
    Case(
        "accumulated batches",
        lambda p: p.stage("fit", trainer__accumulate_grad_batches=4),
        ("accumulate_grad_batches", "global_batch_size"),
    ),
    Case("training without end", lambda p: p.stage("fit", trainer__max_epochs=-1), ("max_epochs",)),
    Case("epochs -5", lambda p: p.stage("fit", trainer__max_epochs=-5), ("trainer", "max_epochs")),
    Case("devices 0", lambda p: p.stage("fit", trainer__devices=0), ("trainer", "devices")),
    Case("no GPU", lambda p: p.stage("fit", trainer__accelerator="gpu"), ("trainer: cpu",)),
    Case("pair batches for CAM", lambda p: p.stage("fit", data__view="pair"), ("data.view", "image")),
    Case(
        "captions that are not there",
        lambda p: p.stage(
            "fit",
            model={
                "class_path": "wsss_bench.methods.text_grounding.tcl.TCL",
                "init_args": {"clip": "package:mini/clip"},
            },
            data__view="caption",
        ),
        ("caption",),
        True,
    ),
    Case("masks for CAM", lambda p: p.stage("fit", masks="m"), ("data.view",)),
    Case(
        "method without segmentation",
        lambda p: p.stage("predict", product="segmentation"),
        ("CAM", "segmentation"),
    ),
    Case("unknown backbone", lambda p: p.stage("fit", model__init_args__backbone="resnet5"), ("resnet5",)),
    Case(
        "frozen stages 9", lambda p: p.stage("fit", model__init_args__frozen_stages=9), ("frozen_stages", "9")
    ),
    Case(
        "absent weights",
        lambda p: p.stage("fit", model__init_args__weights="/no/weights.pth"),
        ("/no/weights.pth",),
    ),
    Case(
        "absent CLIP",
        lambda p: p.stage("predict", model={"class_path": ZERO_SHOT, "init_args": {"clip": "/no/clip"}}),
        ("/no/clip",),
    ),
    Case(
        "absent shipped CLIP",
        lambda p: p.stage(
            "predict", model={"class_path": ZERO_SHOT, "init_args": {"clip": "package:mini/klip"}}
        ),
        ("mini/klip", "mini/clip"),
    ),
    Case(
        "unknown templates",
        lambda p: p.stage(
            "predict",
            model={"class_path": ZERO_SHOT, "init_args": {"clip": "package:mini/clip", "templates": "nice"}},
        ),
        ("nice", "known"),
    ),
    Case(
        "equal class texts",
        lambda p: p.stage(
            "predict",
            model={
                "class_path": ZERO_SHOT,
                "init_args": {"clip": "package:mini/clip", "prompt_names": {"bus": "car"}},
            },
        ),
        ("'car'", "leave one out"),
    ),
    Case(
        "class text that is cut",
        lambda p: p.stage(
            "predict",
            model={
                "class_path": ZERO_SHOT,
                "init_args": {"clip": "package:mini/clip", "prompt_names": {"bus": "car " * 90}},
            },
        ),
        ("tokens", "shorten"),
    ),
    Case(
        "window stride 0",
        lambda p: p.stage("predict", inference={"window": 32, "window_stride": 0}),
        ("inference.window_stride is 0",),
    ),
    Case(
        "window with gaps",
        lambda p: p.stage("predict", inference={"window": 32, "window_stride": 64}),
        ("window_stride", "64"),
    ),
    Case(
        "no inference scales",
        lambda p: p.stage("predict", inference={"scales": []}),
        ("inference.scales is empty",),
    ),
    Case(
        "padding to 0",
        lambda p: p.stage("predict", inference={"pad_to": 0}),
        ("inference.pad_to is 0",),
    ),
    Case("CRF width 0", lambda p: p.stage("crf", crf={"bilateral_sxy": 0}), ("crf.bilateral_sxy is 0",)),
    Case(
        "refiner threshold -1",
        lambda p: p.stage("refine", refiner__init_args__threshold=-1.0),
        ("threshold is -1",),
    ),
    Case(
        "no probabilities",
        lambda p: p.stage("crf"),
        ("holds no probabilities for a CRF; predict a segmentation with --crf true",),
    ),
    Case("no seeds", lambda p: p.stage("refine"), ("seeds", "5 images")),
    Case(
        "data check: root does not exist",
        lambda p: p.data_check(data__source__init_args__root="/no/where"),
        ("/no/where", "JPEGImages"),
    ),
    Case("masks and seeds", lambda p: p.stage("evaluate", seeds="x"), ("--seeds", "--masks")),
    Case(
        "threshold 30",
        lambda p: p.stage("evaluate", masks=None, seeds="x", threshold=30.0),
        ("threshold is 30",),
    ),
    Case("threshold for masks", lambda p: p.stage("evaluate", threshold=0.3), ("threshold",)),
    Case("holdout of all images", lambda p: p.stage("evaluate", holdout=5), ("holdout", "5")),
    Case("another count", lambda p: p.stage("evaluate", count=7), ("5 images", "7")),
    Case("masks are a file", lambda p: p.stage("evaluate", masks=p.write("m.png", "x")), ("m.png",)),
    Case("out is a file", lambda p: p.stage("evaluate", out=p.write("taken", "x")), ("taken",)),
    Case("list in latin-1", lambda p: _list(p, b"val_\xe9\n"), ("val.txt", "UTF-8")),
    Case("mask that is no image", lambda p: _broken(p, "SegmentationClass/val_0.png"), ("val_0.png",)),
    Case("labels that are no XML", lambda p: _broken(p, "Annotations/train_0.xml", "fit"), ("train_0.xml",)),
    Case("image that is no image", lambda p: _broken(p, "JPEGImages/train_0.jpg", "fit"), ("train_0.jpg",)),
]
CHECKPOINTS = [
    Case(
        "absent",
        lambda p: p.stage("predict", checkpoint=str(p.root / "none")),
        ("none/checkpoints/last.ckpt",),
    ),
    Case("empty", lambda p: p.stage("predict", checkpoint=p.checkpoint(b"")), ("last.ckpt", "empty")),
    Case("truncated", lambda p: p.stage("predict", checkpoint=_truncated(p)), ("last.ckpt", "truncated")),
    Case(
        "text",
        lambda p: p.stage("predict", checkpoint=p.checkpoint(b"hello" * 100)),
        ("last.ckpt", "no checkpoint"),
    ),
    Case(
        "bare tensors",
        lambda p: p.stage("predict", checkpoint=p.checkpoint({"fc.weight": torch.zeros(2)})),
        ("last.ckpt", "state_dict"),
    ),
    Case(
        "a list", lambda p: p.stage("predict", checkpoint=p.checkpoint([1, 2])), ("last.ckpt", "state_dict")
    ),
    Case(
        "code in it",
        lambda p: p.stage("predict", checkpoint=p.checkpoint({"state_dict": Path})),
        ("last.ckpt",),
    ),
    Case(
        "of other code",
        lambda p: p.stage("predict", checkpoint=_trained(p, _without("wsss_bench"))),
        ("not written by wsss_bench",),
    ),
    Case(
        "another backbone",
        lambda p: p.stage("predict", model__init_args__backbone="resnet18", checkpoint=_trained(p, dict)),
        ("last.ckpt", "CAM", "backbone.stages"),
    ),
    Case(
        "missing tensors",
        lambda p: p.stage("predict", checkpoint=_trained(p, _with_state(lambda s: s.pop("head.weight")))),
        ("last.ckpt", "missing (head.weight)"),
    ),
    Case(
        "tensors left over",
        lambda p: p.stage(
            "predict", checkpoint=_trained(p, _with_state(lambda s: s.update(extra=torch.zeros(1))))
        ),
        ("last.ckpt", "left over (extra)"),
    ),
    Case(
        "another shape",
        lambda p: p.stage(
            "predict",
            checkpoint=_trained(p, _with_state(lambda s: s.update({"head.weight": torch.zeros(3, 3, 1, 1)}))),
        ),
        ("last.ckpt", "head.weight (3, 3, 1, 1) instead of (8, 512, 1, 1)"),
    ),
    Case(
        "warm start from nothing",
        lambda p: p.stage("fit", warm_start=str(p.root / "none")),
        ("none/checkpoints/last.ckpt",),
    ),
    Case(
        "warm start from text",
        lambda p: p.stage("fit", warm_start=p.checkpoint(b"hello")),
        ("last.ckpt", "no checkpoint"),
    ),
]


def _list(place: Place, content: bytes) -> list[str]:
    (place.voc / "ImageSets/Segmentation/val.txt").write_bytes(content)
    return place.stage("evaluate")


def _broken(place: Place, name: str, command: str = "evaluate") -> list[str]:
    (place.voc / name).write_bytes(b"not what it should be")
    return place.stage(command)


@pytest.fixture
def place(tmp_path: Path, voc_root: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return Place(tmp_path / "work", voc_root)


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says on stderr; it must fail."""
    capsys.readouterr()
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    assert status not in (0, None)
    return capsys.readouterr().err.strip()


def cases(*tables: list[Case]) -> list[Any]:
    return [
        pytest.param(case, id=case.name, marks=pytest.mark.slow if case.slow else ())
        for table in tables
        for case in table
    ]


@pytest.mark.parametrize("case", cases(COMMAND_LINE, YAML_FILES, PLAN, PARSED, BUILT, CHECKPOINTS))
def test_a_bad_input_is_answered_in_one_line_and_nothing_is_written(case, place, capsys):
    arguments = case.command(place)
    text = answer(arguments, capsys)
    assert len(text.splitlines()) == 1, text
    for words in case.named:
        assert words in text
    for words in ("Traceback", "Union subtypes", "Parser key", "<class"):
        assert words not in text
    assert not list(place.root.glob("out/**/stage.json"))
    assert not list(place.root.glob("out/*/*.*"))
    assert not (place.root / "runs").exists()


def test_masks_of_full_supervision_are_missed_before_anything_runs(place, capsys):
    for path in (place.voc / "SegmentationClass").glob("train_*.png"):
        path.unlink()
    arguments = place.bench(
        method__model__class_path="wsss_bench.methods.supervised.Supervised",
        method__data__view="mask",
        method__bench={"pipeline": "upper_bound", "supervision": "mask", "backbone": "R10"},
        experiment__refiners=[],
    )
    text = answer(arguments, capsys)
    assert "train cam-toy-s0: 10 of 10 masks of split 'train' do not exist, first " in text
    assert "evaluate" not in text  # the masks of val are there
    assert not (place.root / "runs").exists()
