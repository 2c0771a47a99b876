"""The curves of a training, and the loggers and callbacks that a user gives."""

from __future__ import annotations

import csv
from typing import ClassVar

import pytest
import yaml
from conftest import write_voc
from lightning.pytorch import Callback
from planned_stages import fit_config, plan_stage, seed_config

from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.identity import fingerprint_of
from wsss_bench.artifacts.layout import CURVES, LAST
from wsss_bench.artifacts.stage_files import damaged_files
from wsss_bench.cli import main
from wsss_bench.stages import fit

pytestmark = pytest.mark.slow


class Noted(Callback):
    """Notes the loggers and callbacks that a trainer runs with."""

    seen: ClassVar[list[tuple[list[str], list[str]]]] = []

    def setup(self, trainer, pl_module, stage):
        names = ([type(one).__name__ for one in part] for part in (trainer.loggers, trainer.callbacks))
        self.seen.append(tuple(names))


def config(root, out):
    """Four epochs of two steps, with a validation after the second and the fourth one."""
    content = fit_config(root) | {"out": str(out)}
    content["data"] |= {"val_split": "val", "global_batch_size": 4}
    content["trainer"] |= {"max_epochs": 4, "log_every_n_steps": 3, "check_val_every_n_epoch": 2}
    return content


def train(content, *options):
    path = f"{content['out']}.yaml"
    with open(path, "w") as file:
        yaml.safe_dump(content, file)
    return main(["fit", "--config", path, *options])


def rows(out):
    """The curves, without the speed, which is another one each time."""
    with open(out / CURVES, newline="") as file:
        return [{key: row[key] for key in row if key != "images_per_second"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curves")
    out = folder / "reference"
    assert train(config(write_voc(folder / "voc"), out)) == 0
    return rows(out)


def test_curves_hold_losses_learning_rates_and_metrics(reference):
    steps = [int(row["step"]) for row in reference]
    per_epoch = steps[-1] // 4
    assert steps == sorted({*range(3, steps[-1] + 1, 3), *range(per_epoch, steps[-1] + 1, per_epoch)})
    assert all(float(row["train/classification"]) > 0 and float(row["lr/0"]) > 0 for row in reference)
    assert [int(row["step"]) for row in reference if row["monitor/mAP"]] == [2 * per_epoch, 4 * per_epoch]
    rates = [float(row["lr/0"]) for row in reference]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("when", ["before the checkpoint", "after it"])
def test_a_killed_training_neither_doubles_nor_loses_rows(voc_root, tmp_path, reference, monkeypatch, when):
    save, content = fit.LastCheckpoint.on_train_epoch_end, config(voc_root, tmp_path / "killed")

    def stop(self, trainer, pl_module):
        killed = trainer.current_epoch == 2
        if when == "after it" or not killed:
            save(self, trainer, pl_module)
        if killed:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(fit.LastCheckpoint, "on_train_epoch_end", stop)
        with pytest.raises(RuntimeError, match="killed"):
            train(content)
    # the rows of steps that are done again were written too
    assert int(rows(tmp_path / "killed")[-1]["step"]) == int(reference[-1]["step"]) // 4 * 3
    assert train(content) == 0
    assert rows(tmp_path / "killed") == reference
    # what a user does with the file does not damage the stage
    (tmp_path / "killed" / CURVES).write_text("step\n\0")
    assert damaged_files(tmp_path / "killed") == []
    assert train(content) == 0


def test_an_unreadable_file_costs_the_earlier_rows_only(voc_root, tmp_path, monkeypatch, capsys):
    save, content = fit.LastCheckpoint.on_train_epoch_end, config(voc_root, tmp_path / "out")

    def stop(self, trainer, pl_module):
        save(self, trainer, pl_module)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(fit.LastCheckpoint, "on_train_epoch_end", stop)
        with pytest.raises(RuntimeError, match="killed"):
            train(content)
    (tmp_path / "out" / CURVES).write_text("step,epoch\nnone,1\n")
    assert train(content) == 0
    assert "the curves of earlier attempts are lost" in capsys.readouterr().out
    steps = [int(row["step"]) for row in rows(tmp_path / "out")]
    assert steps == [3, 4, 6, 8]


def test_a_training_of_no_epoch_has_an_empty_file(voc_root, tmp_path):
    content = config(voc_root, tmp_path / "out")
    content["trainer"]["max_epochs"] = 0
    assert train(content) == 0
    assert rows(tmp_path / "out") == []


LOGGER = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"name": "mine"}}


@pytest.mark.parametrize(
    ("options", "loggers"),
    [
        (["--trainer.logger=false"], ["Curves"]),
        (["--trainer.logger=true", "--trainer.fast_dev_run=true"], ["DummyLogger", "Curves"]),
        (["--trainer.logger=CSVLogger", "--trainer.logger.save_dir={}/mine"], ["CSVLogger", "Curves"]),
        (
            ["--trainer.logger=[{{class_path: CSVLogger, init_args: {{save_dir: '{}/mine'}}}}]"],
            ["CSVLogger", "Curves"],
        ),
    ],
    ids=["false", "true", "a class", "a list"],
)
def test_loggers_of_a_user_stand_next_to_our_own(voc_root, tmp_path, options, loggers):
    content = fit_config(voc_root) | {"out": str(tmp_path / "out")}
    content["trainer"]["max_epochs"] = 1
    Noted.seen.clear()
    options = [option.format(tmp_path) for option in options]
    assert (
        train(content, *options, "--trainer.log_every_n_steps=1", "--trainer.callbacks=test_curves.Noted")
        == 0
    )
    ((found, _),) = Noted.seen
    assert found == loggers
    assert (tmp_path / "out" / CURVES).is_file()
    if "CSVLogger" in loggers:
        (log,) = (tmp_path / "mine").rglob("metrics.csv")
        assert "train/classification" in log.read_text()


def test_a_plan_may_name_loggers_and_callbacks(voc_root, tmp_path, capsys):
    """A logger does not decide the result, so that any may be given; callbacks are those of the plan."""
    content = fit_config(voc_root)
    plain = fingerprint_of("train", content, {})
    content["trainer"]["logger"] = {**LOGGER, "init_args": {"save_dir": str(tmp_path / "mine")}}
    assert fingerprint_of("train", content, {}) == plain
    checkpoint = {"class_path": "ModelCheckpoint", "init_args": {"save_on_train_epoch_end": True}}
    content["trainer"]["callbacks"] = ["test_curves.Noted", "LearningRateMonitor", checkpoint]
    assert fingerprint_of("train", content, {}) != plain
    stage = plan_stage(tmp_path / "runs", "train", content)
    assert main([*stage.arguments, "--trainer.callbacks=null"]) == 1
    assert "trainer.callbacks (planned: [" in capsys.readouterr().err
    Noted.seen.clear()
    assert main([*stage.arguments, "--trainer.logger=false"]) == 0
    ((loggers, callbacks),) = Noted.seen
    assert loggers == ["Curves"]
    assert {"LearningRateMonitor", "ModelCheckpoint", "Curves", "LastCheckpoint"} <= set(callbacks)
    assert is_complete(stage.path)
    assert [path.name for path in (stage.path / LAST).parent.iterdir()] == [LAST.name]
    assert list((stage.path / "lightning").rglob("*.ckpt"))
    assert damaged_files(stage.path) == []

    seeds = seed_config(voc_root, stage.path)
    seeds["trainer"] |= {key: content["trainer"][key] for key in ("logger", "callbacks")}
    predict = plan_stage(tmp_path / "runs", "seed", seeds, checkpoint=stage)
    Noted.seen.clear()
    assert main(predict.arguments) == 0
    assert Noted.seen[0][0] == ["CSVLogger"]
