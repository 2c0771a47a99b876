"""What can be known before the first stage is refused before it, by the bench and by a dry run."""

from __future__ import annotations

import copy

import pytest
import yaml
from project import DATA, METHODS

from wsss_bench.bench import first_checks
from wsss_bench.bench.validate import check_stages
from wsss_bench.cli import main
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError

pytestmark = pytest.mark.slow


def trainer_of_cam(project, **arguments):
    content = copy.deepcopy(METHODS["cam"])
    content["trainer"] |= arguments
    project.write("configs/methods/cam.yaml", content)
    return project.experiment()


@pytest.mark.parametrize(
    ("key", "value"), [("limit_train_batches", 2), ("limit_train_batches", 1), ("max_time", "00:01:00:00")]
)
def test_a_short_training_is_loud(project, key, value):
    plan = make_plan(trainer_of_cam(project, **{key: value}), project.runs)
    assert [
        note
        for note in plan.notes
        if note.startswith(f"SHORT TRAINING: trainer.{key}: {value!r} in cam-toy-s0")
    ]


@pytest.mark.parametrize(
    "arguments", [{}, {"limit_train_batches": 1.0, "limit_val_batches": 0, "fast_dev_run": False}]
)
def test_a_whole_training_is_not(project, arguments):
    assert not make_plan(trainer_of_cam(project, **arguments), project.runs).notes


@pytest.mark.parametrize(
    "arguments", [{"fast_dev_run": True}, {"fast_dev_run": 1}, {"limit_predict_batches": 0.5}]
)
def test_a_trial_is_refused(project, arguments):
    with pytest.raises(ConfigError, match=r"trainer\.(fast_dev_run|limit_predict_batches)"):
        make_plan(trainer_of_cam(project, **arguments), project.runs)


@pytest.mark.parametrize("split", ["few", None])
def test_every_stage_names_its_training_split(project, split):
    """A protocol's split without `data.train_split`: the default of the data module is another one."""
    content = copy.deepcopy(DATA)
    content["protocol"] |= {"train_split": "few", "counts": {"few": 10, "val": 4, "val_ood": 4}}
    if split is not None:
        content["data"]["train_split"] = "all"
    project.write("configs/data/toy.yaml", content)
    plan = make_plan(project.experiment(), project.runs)
    found = {stage.config["data"]["train_split"] for stage in plan.stages.values() if "data" in stage.config}
    assert found == {"few" if split is None else "all"}


def test_an_unknown_mode_of_tracking_is_refused_first(project, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "onlin")
    assert main(["bench", str(project.experiment()), "--runs", str(project.runs)]) == 1
    assert "WANDB_MODE is offline, online or disabled; got 'onlin'" in capsys.readouterr().err
    assert not project.runs.exists()


@pytest.fixture
def real(project, voc_root, monkeypatch):
    """A project of real classes, whose checks run in this process."""
    source = {
        "class_path": "wsss_bench.data.sources.voc.VOC",
        "init_args": {"root": str(voc_root), "vocabulary": "mini"},
    }
    protocol = {
        "dataset": "toy",
        "train_split": "train",
        "eval_splits": ["val"],
        "counts": {"train": 10, "val": 5},
        "holdout": 2,
        "scales": [1.0],
    }
    project.write("configs/data/toy.yaml", {"data": {"source": source}, "protocol": protocol})
    project.write("configs/trainer/cpu.yaml", {"trainer": {"accelerator": "cpu", "devices": 1}})
    threshold = {
        "class_path": "wsss_bench.refine.threshold.ThresholdRefiner",
        "init_args": {"threshold": None},
    }
    project.write("configs/refine/threshold.yaml", {"refiner": threshold})

    class InThisProcess:
        def __init__(self, target):
            assert target is check_stages

        def start(self, job):
            self.exit_status = check_stages(list(job.arguments))
            return self

    monkeypatch.setattr(first_checks, "LocalLauncher", InThisProcess)

    def bench(**changes):
        method = {
            "model": {
                "class_path": "wsss_bench.methods.cam.CAM",
                "init_args": {"backbone": "resnet10t", "weights": None},
            },
            "data": {"global_batch_size": 2, "transform": {"crop_size": 32, "resize_long": [32, 40]}},
            "trainer": {"max_epochs": 1},
            "inference": {"scales": [1.0]},
            "bench": {"pipeline": "multi_stage", "supervision": "image", "backbone": "R10", "threshold": 0.3},
        }
        for key, value in changes.items():
            section, name = key.split("__")
            method[section][name] = value
        project.write("configs/methods/cam.yaml", method)
        file = project.experiment(methods=["cam"])
        return main(["bench", str(file), "--dry-run", "--runs", str(project.runs)])

    return bench


def test_a_dry_run_of_what_fits_succeeds_and_writes_nothing(real, project):
    assert real() == 0
    assert not project.runs.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data__global_batch_size": 11}, "the training split has 10 images"),
        ({"trainer__accumulate_grad_batches": 2}, "accumulate_grad_batches is 2"),
        ({"data__num_workers": -1}, "data.num_workers is -1"),
        ({"inference__window": 0}, "inference.window is 0"),
        ({"inference__scales": [0.0]}, "inference.scales[0] is 0"),
        ({"model__init_args": {"backbone": "resnet10t", "weights": "/no/w.pth"}}, "/no/w.pth"),
        ({"model__init_args": {"weights": None, "optim": {"lr": -1}}}, "optim.lr is -1"),
        ({"data__view": "mask"}, "set data.view: image"),
        ({"bench__supervision": "caption"}, "bench.supervision is caption, but CAM.supervision is image"),
        ({"bench__pipeline": "single_stage"}, "pipeline is single_stage, but CAM makes no segmentations"),
        ({"bench__trains": False}, "bench.trains is false, but CAM defines a training_loss"),
    ],
)  # fmt: skip
def test_a_dry_run_builds_what_stages_need(real, project, capsys, changes, words):
    assert real(**changes) == 1
    error = capsys.readouterr().err
    assert "nothing was started, because these stages cannot run" in error
    assert words in error
    assert "cam-toy-s0" in error
    assert not project.runs.exists()


def test_images_that_the_protocol_does_not_count(real, project, voc_root, capsys):
    path = voc_root / "ImageSets" / "Segmentation" / "train.txt"
    path.write_text("\n".join(path.read_text().split()[:9]))
    assert real() == 1
    assert "split 'train' has 9 images, the protocol says 10" in capsys.readouterr().err


def test_data_that_the_bench_would_make_may_be_absent_in_a_dry_run(real, project, voc_root):
    path = project.root / "configs/data/toy.yaml"
    content = yaml.safe_load(path.read_text())
    content["data"]["source"]["init_args"]["root"] = str(voc_root / "later")
    path.write_text(yaml.safe_dump(content))
    assert real() == 1
    content["protocol"]["prepare"] = ["data", "mini", "--root", "x"]
    path.write_text(yaml.safe_dump(content))
    assert real() == 0
