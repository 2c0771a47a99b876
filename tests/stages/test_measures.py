"""How often a training is logged, what is logged, and that logging changes nothing."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import write_voc
from planned_stages import fit_config, plan_stage
from wandb_files import offline_runs

from wsss_bench.artifacts.layout import CURVES, LAST
from wsss_bench.artifacts.run import FACTS
from wsss_bench.cli import main
from wsss_bench.stages.measures import StepMeasures

pytestmark = pytest.mark.slow

MEASURED = ("train/classification", "train/total", "lr/0", "gradient_norm", "images_per_second")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_voc(tmp_path_factory.mktemp("data") / "voc")


def train(root, out, epochs, *options):
    """A training of two steps an epoch; returns the rows of its curves."""
    content = fit_config(root) | {"out": str(out)}
    content["trainer"]["max_epochs"] = epochs
    file = out.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(content))
    assert main(["fit", "--config", str(file), *options]) == 0
    return rows(out)


def rows(out):
    with open(out / CURVES, newline="") as file:
        return list(csv.DictReader(file))


def measured_steps(found):
    return [int(row["step"]) for row in found if row.get("gradient_norm")]


def test_a_training_has_fifty_points_or_one_for_each_step(root, tmp_path):
    short = train(root, tmp_path / "short", 2)
    assert measured_steps(short) == [1, 2, 3, 4]
    long = train(root, tmp_path / "long", 52)  # 104 steps
    assert measured_steps(long) == list(range(2, 105, 2))
    for row in long:
        assert all(float(row[name]) > 0 for name in MEASURED)
        assert float(row["train/total"]) == float(row["train/classification"])


def test_the_interval_of_a_user_stays(root, tmp_path):
    assert measured_steps(train(root, tmp_path / "out", 4, "--trainer.log_every_n_steps=3")) == [3, 6]


def test_the_norm_is_that_of_the_whole_gradient(root, tmp_path, monkeypatch):
    seen = []
    step = torch.optim.AdamW.step

    def noting(self, closure=None):
        loss = closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        seen.append(sum(float((gradient**2).sum()) for gradient in gradients) ** 0.5)
        return step(self, lambda: loss)

    monkeypatch.setattr(torch.optim.AdamW, "step", noting)
    found = train(root, tmp_path / "out", 2)
    assert [float(row["gradient_norm"]) for row in found] == pytest.approx(seen, rel=1e-5)


def test_logging_changes_no_weight(root, tmp_path, monkeypatch):
    train(root, tmp_path / "never", 3, "--trainer.log_every_n_steps=1000")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(root, tmp_path / "always", 3, "--trainer.log_every_n_steps=1")
    assert len(measured_steps(rows(tmp_path / "always"))) == 6
    assert measured_steps(rows(tmp_path / "never")) == []
    weights = [
        torch.load(tmp_path / name / LAST, weights_only=True)["state_dict"] for name in ("never", "always")
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_planned_training_is_found_in_wandb_with_its_curves(root, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    content = fit_config(root)
    content["trainer"]["max_epochs"] = 30
    facts = {
        "cell": "cam-toy-s1",
        "method": "cam",
        "base": "cam",
        "dataset": "toy",
        "split": "train",
        "seed": 1,
    }
    stage = plan_stage(tmp_path / "runs", "train", content, facts)
    assert main(stage.arguments) == 0
    (run,) = offline_runs(stage.path)
    assert (run.id, run.group, run.job_type) == (stage.path.name, "cam-toy-s1", "train")
    assert run.tags == ["experiment:toy"]
    assert {*FACTS, "stage", "protocol", "commit"} <= run.config.keys()
    assert {name: run.config[name] for name in facts} == facts
    assert run.config["resolved"]["trainer"]["max_epochs"] == 30
    for name in MEASURED:
        assert len(run.points(name)) >= 50, name
    shown = rows(stage.path)
    assert run.points("train/total") == pytest.approx([float(row["train/total"]) for row in shown])
    assert len(run.points("trainer/global_step")) == len(run.history)


def test_a_logger_of_a_user_replaces_wandb_and_gets_the_same_curves(root, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    options = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'mine'}"]
    shown = train(root, tmp_path / "out", 3, *options)
    assert not (tmp_path / "out" / "wandb").exists()
    (log,) = (tmp_path / "mine").rglob("metrics.csv")
    with open(log, newline="") as file:
        theirs = list(csv.DictReader(file))
    for name in MEASURED:
        assert [float(row[name]) for row in theirs] == pytest.approx([float(row[name]) for row in shown])
    assert [int(row["step"]) + 1 for row in theirs] == [int(row["step"]) for row in shown]


def test_an_error_of_wandb_does_not_cost_the_training(root, tmp_path, monkeypatch, capsys):
    from lightning.pytorch.loggers import WandbLogger

    monkeypatch.setenv("WANDB_MODE", "offline")

    def fail(self, metrics, step=None):
        raise BrokenPipeError("wandb is gone")

    monkeypatch.setattr(WandbLogger, "log_metrics", fail)
    assert len(train(root, tmp_path / "out", 2)) == 4
    assert capsys.readouterr().out.count("wandb is gone") == 1


def test_a_logger_without_its_package_says_what_to_install(root, tmp_path, monkeypatch, capsys):
    from lightning.pytorch.loggers import csv_logs

    def absent(self, *_, **__):
        raise ModuleNotFoundError("Requirement 'x' not met. HINT: Try running `pip install x`")

    monkeypatch.setattr(csv_logs.CSVLogger, "__init__", absent)
    content = fit_config(root) | {"out": str(tmp_path / "out")}
    content["trainer"]["logger"] = {"class_path": "CSVLogger", "init_args": {"save_dir": str(tmp_path)}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    assert main(["fit", "--config", str(tmp_path / "c.yaml")]) == 1
    assert "`pip install x`; install it, or name another class" in capsys.readouterr().err


@pytest.mark.parametrize(("steps", "interval"), [(10, 1), (400, 8), (30_000, 50)])
def test_the_chosen_interval_gives_fifty_points_or_more(steps, interval):
    trainer = SimpleNamespace(estimated_stepping_batches=steps)
    StepMeasures(chooses_interval=True).on_train_start(trainer, None)
    assert trainer.log_every_n_steps == interval
