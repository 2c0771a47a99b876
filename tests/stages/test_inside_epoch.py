"""A training that is stopped or killed inside an epoch ends with the weights of an uninterrupted one."""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import write_voc
from lightning.pytorch import Callback
from planned_stages import fit_config, plan_stage

from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.layout import CURVES, LAST
from wsss_bench.cli import main
from wsss_bench.data.sources.voc import VOC
from wsss_bench.methods.cam import CAM

pytestmark = pytest.mark.slow

STEPS = 5
"""Of an epoch; there are three of them."""


class Drawing(CAM):
    """A method that draws from every global generator in a step, and has a teacher."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.register_buffer("teacher", torch.zeros(3))

    def training_loss(self, batch):
        losses = super().training_loss(batch)
        drawn = torch.rand(()).item() + random.random() + float(np.random.random())  # noqa: NPY002
        return {name: loss * (1 + drawn) for name, loss in losses.items()}

    def after_step(self):
        self.teacher.lerp_(torch.rand(3), 0.1)


class Drawn(Callback):
    """Another callback that draws random numbers before the first step."""

    def on_train_start(self, trainer, pl_module):
        torch.rand(3)


class Interrupt(Callback):
    """Sends this process a signal after a step, once."""

    def __init__(self, step: int, number: int, mark: str, where: str = "train") -> None:
        self.step, self.number, self.mark, self.where = step, number, Path(mark), where

    def on_train_batch_end(self, trainer, *_):
        if self.where == "train" and trainer.global_rank == 0:
            self._interrupt(trainer)

    def on_validation_batch_end(self, trainer, *_):
        if self.where == "validation":
            self._interrupt(trainer)

    def _interrupt(self, trainer):
        if trainer.global_step == self.step and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), self.number)


class NotedVOC(VOC):
    """Notes the images that are read."""

    def __init__(self, root: str, vocabulary: str, notes: str) -> None:
        super().__init__(root, vocabulary=vocabulary)
        self.notes = notes

    def image(self, image_id: str):
        with open(self.notes, "a") as file:
            file.write(f"{image_id}\n")
        return super().image(image_id)


def config(root, out, **data):
    """Three epochs of five steps, with a validation after each step of the second epoch."""
    content = fit_config(root) | {"out": str(out)}
    content["model"]["class_path"] = f"{__name__}.Drawing"
    content["data"] |= {"global_batch_size": 2, "val_split": "val", **data}
    content["trainer"] |= {
        "max_epochs": 3,
        "log_every_n_steps": 2,
        "val_check_interval": 2,
        "check_val_every_n_epoch": 2,
        "callbacks": [f"{__name__}.Drawn"],
    }
    return content


def interrupted(content, step, number, where="train"):
    """The configuration of a training that gets a signal after a step."""
    out = Path(content["out"])
    arguments = {"step": step, "number": int(number), "mark": f"{out}.mark", "where": where}
    callback = {"class_path": f"{__name__}.Interrupt", "init_args": arguments}
    return {**content, "trainer": {**content["trainer"], "callbacks": [f"{__name__}.Drawn", callback]}}


def train(content, *options):
    path = f"{content['out']}.yaml"
    Path(path).write_text(yaml.safe_dump(content))
    return main(["fit", "--config", path, *options])


def train_in_a_process(content, *options):
    """Its exit status; negative for a signal."""
    process = multiprocessing.get_context("fork").Process(target=_exit, args=(content, *options))
    process.start()
    process.join(60)
    return process.exitcode


def _exit(content, *options):
    os._exit(train(content, *options))


def checkpoint(out, name=LAST):
    return torch.load(Path(out) / name, weights_only=True)


def rows(out):
    """The curves, without the speed, which is another one each time."""
    with open(Path(out) / CURVES, newline="") as file:
        return [{key: row[key] for key in row if key != "images_per_second"} for row in csv.DictReader(file)]


def assert_equal(out, reference):
    """Weights, optimiser, schedule, random states, progress of the loops, and curves."""
    ours, theirs = checkpoint(out), checkpoint(reference)
    for loops in (ours["loops"], theirs["loops"]):
        del loops["fit_loop"]["epoch_loop.val_loop.batch_progress"]  # of the last validation that ran
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "random_states", "loops"):
        leaves, tree = torch.utils._pytree.tree_flatten(ours[part])
        others, other_tree = torch.utils._pytree.tree_flatten(theirs[part])
        assert tree == other_tree, part
        for one, other in zip(leaves, others, strict=True):
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, part
    assert rows(out) == rows(reference)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_voc(tmp_path_factory.mktemp("data") / "voc")


@pytest.fixture(scope="module")
def reference(tmp_path_factory, root):
    """An uninterrupted training."""
    out = tmp_path_factory.mktemp("reference") / "out"
    assert train(config(root, out)) == 0
    return out


@pytest.mark.parametrize(
    ("step", "workers"),
    [(1, 0), (STEPS, 2), (STEPS + 2, 0), (STEPS + 3, 2), (3 * STEPS - 1, 0)],
)
def test_after_sigterm_a_training_goes_on_where_it_was(root, reference, tmp_path, capfd, step, workers):
    out = tmp_path / "out"
    content = interrupted(config(root, out, num_workers=workers), step, signal.SIGTERM)
    assert train(content) == 128 + signal.SIGTERM
    assert f"stopped by SIGTERM after step {step} of {3 * STEPS}; the same command" in capfd.readouterr().out
    assert checkpoint(out)["global_step"] == step
    assert not is_complete(out)
    assert train(content) == 0
    assert_equal(out, reference)


def test_a_training_that_is_killed_goes_on_from_the_checkpoint_before(root, reference, tmp_path):
    out = tmp_path / "out"
    content = interrupted(config(root, out, num_workers=2), STEPS + 3, signal.SIGKILL)
    assert train_in_a_process(content, "--checkpoint_minutes=1e-9") == -signal.SIGKILL
    assert checkpoint(out)["global_step"] == STEPS + 2
    assert train(content, "--checkpoint_minutes=1e-9") == 0
    assert_equal(out, reference)


def test_batches_that_are_done_are_not_read_again(root, tmp_path):
    notes, out = tmp_path / "notes.txt", tmp_path / "out"
    source = {"class_path": f"{__name__}.NotedVOC"}
    source["init_args"] = {"root": str(root), "vocabulary": "mini", "notes": str(notes)}
    whole = config(root, tmp_path / "whole", source=source, val_split=None)
    assert train(whole) == 0
    expected = notes.read_text().split()
    notes.unlink()
    content = interrupted({**whole, "out": str(out)}, STEPS + 3, signal.SIGTERM)
    assert train(content) == 143
    before = notes.read_text().split()
    notes.unlink()
    assert train(content) == 0
    # the first image is read before a training, to see that it can be
    assert notes.read_text().split() == expected[:1] + expected[1 + 2 * (STEPS + 3) :]
    assert before == expected[: len(before)]


@pytest.mark.parametrize("step", [STEPS - 1, STEPS, STEPS + 1])
@pytest.mark.parametrize("changes", [{"max_epochs": -1, "max_steps": 13}, {"epoch_length": 3}])
def test_a_number_of_steps_and_short_epochs(root, tmp_path, changes, step):
    contents = [config(root, tmp_path / name) for name in ("whole", "out")]
    for content in contents:
        content["data" if "epoch_length" in changes else "trainer"] |= changes
    assert train(contents[0]) == 0
    content = interrupted(contents[1], step, signal.SIGTERM)
    assert (train(content), train(content)) == (143, 0)
    assert_equal(tmp_path / "out", tmp_path / "whole")


def test_a_validation_is_finished_first(root, reference, tmp_path):
    content = interrupted(config(root, tmp_path / "out"), STEPS + 2, signal.SIGTERM, "validation")
    assert train(content) == 143
    assert checkpoint(tmp_path / "out")["global_step"] == STEPS + 2
    assert any(row["monitor/mAP"] for row in rows(tmp_path / "out"))
    assert train(content) == 0
    assert_equal(tmp_path / "out", reference)


def test_a_signal_in_the_last_step_lets_the_training_end(root, reference, tmp_path):
    content = interrupted(config(root, tmp_path / "out"), 3 * STEPS, signal.SIGTERM)
    assert train(content) == 0
    assert is_complete(tmp_path / "out")
    assert_equal(tmp_path / "out", reference)


SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "bench", "SLURM_NTASKS": "1", "SLURM_PROCID": "0",
         "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost"}  # fmt: skip


def test_no_checkpoint_of_another_cell_is_touched_and_nothing_is_submitted(
    root, reference, tmp_path, monkeypatch, capfd
):
    """Under srun, Lightning would load the first file, write the second one, and submit the job again."""
    work, programs = tmp_path / "work", tmp_path / "programs"
    foreign = [work / "hpc_ckpt_1.ckpt", work / "last.ckpt", work / LAST]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((reference / LAST).read_bytes())
    before = {path: path.read_bytes() for path in work.rglob("*.ckpt")}
    programs.mkdir()
    (programs / "scontrol").write_text(f"#!/bin/sh\necho $* > {tmp_path}/submitted\n")
    (programs / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.chdir(work)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    stage = plan_stage(tmp_path / "runs", "train", interrupted(config(root, "."), 7, signal.SIGUSR1))
    assert main(stage.arguments) == 143
    assert "stopped by SIGUSR1 after step 7 of 15" in capfd.readouterr().out
    assert {path: path.read_bytes() for path in work.rglob("*.ckpt")} == before
    assert main(stage.arguments) == 0
    assert_equal(stage.path, reference)
    assert not list(stage.path.rglob("hpc_ckpt*"))
    assert not (tmp_path / "submitted").exists()


def fit_on_a_rank(rank, path):
    return main(["fit", "--config", path])


@pytest.mark.parametrize("step", [STEPS, STEPS + 3])
def test_two_ranks_stop_at_the_same_step_and_go_on_from_it(root, tmp_path, rank_pair, step):
    """The signal reaches one of them."""
    contents = [config(root, tmp_path / name) for name in ("whole", "out")]
    for content in contents:
        content["trainer"] |= {"devices": 2, "strategy": "ddp"}
    contents[1] = interrupted(contents[1], step, signal.SIGTERM)
    paths = []
    for content in contents:
        paths.append(f"{content['out']}.yaml")
        Path(paths[-1]).write_text(yaml.safe_dump(content))
    assert rank_pair.call(fit_on_a_rank, paths[0]) == [0, 0]
    assert 143 in rank_pair.call(fit_on_a_rank, paths[1])
    assert checkpoint(tmp_path / "out")["global_step"] == step
    assert len(checkpoint(tmp_path / "out")["random_states"]) == 2
    assert rank_pair.call(fit_on_a_rank, paths[1]) == [0, 0]
    assert_equal(tmp_path / "out", tmp_path / "whole")
