"""A stage keeps to its folder and to its plan, whatever a cluster or another stage left behind."""

from __future__ import annotations

import shutil
import signal

import pytest
import torch
import yaml
from lightning.pytorch.utilities import rank_zero_only
from planned_stages import fit_config, plan_stage, refine_config, seed_config

from wsss_bench.artifacts.files import MANIFEST, is_complete
from wsss_bench.artifacts.layout import IDENTITY_FILE, LAST
from wsss_bench.cli import main
from wsss_bench.stages import fit
from wsss_bench.stages.fit import FitCLI

pytestmark = pytest.mark.slow

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


@pytest.fixture
def slurm(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)


def train(tmp_path, root, name, random_seed=1, **trainer):
    config = fit_config(root) | {"seed_everything": random_seed, "out": str(tmp_path / name)}
    config["trainer"] |= trainer
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return main(["fit", "--config", str(path)])


def weights(folder):
    return torch.load(folder / LAST, weights_only=True)["state_dict"]


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_checkpoint_of_lightning_is_never_loaded(voc_root, tmp_path, monkeypatch, slurm):
    """Neither from the working directory nor from the folder of the stage."""
    assert train(tmp_path, voc_root, "clean") == 0
    assert train(tmp_path, voc_root, "foreign", random_seed=2) == 0
    (tmp_path / "work").mkdir()
    (tmp_path / "stage" / "lightning_logs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    for folder in (tmp_path / "work", tmp_path / "stage"):
        shutil.copy(tmp_path / "foreign" / LAST, folder / "hpc_ckpt_1.ckpt")
    assert train(tmp_path, voc_root, "stage") == 0
    assert same(weights(tmp_path / "clean"), weights(tmp_path / "stage"))
    assert not same(weights(tmp_path / "clean"), weights(tmp_path / "foreign"))


def test_lightning_neither_writes_checkpoints_nor_submits_jobs(voc_root, tmp_path, monkeypatch, slurm):
    """It would do so on SIGUSR1."""
    handlers = []
    save = fit.LastCheckpoint.on_train_epoch_end

    def noted(self, trainer, pl_module):
        handlers.append(signal.getsignal(signal.SIGUSR1))
        save(self, trainer, pl_module)

    monkeypatch.setattr(fit.LastCheckpoint, "on_train_epoch_end", noted)
    assert train(tmp_path, voc_root, "stage") == 0
    assert handlers == [signal.SIG_DFL] * 2


def test_the_checkpoint_of_another_random_seed_is_refused(voc_root, tmp_path, capsys):
    assert train(tmp_path, voc_root, "one", random_seed=1) == 0
    shutil.copytree(tmp_path / "one" / "checkpoints", tmp_path / "two" / "checkpoints")
    assert train(tmp_path, voc_root, "two", random_seed=2) == 1
    message = capsys.readouterr().err
    assert "belongs to another stage: " in message
    assert "seed_everything (there: 1, here: 2)" in message
    assert not is_complete(tmp_path / "two")


def test_a_checkpoint_that_does_not_say_whose_it_is_is_refused(voc_root, tmp_path, capsys):
    assert train(tmp_path, voc_root, "one") == 0
    checkpoint = torch.load(tmp_path / "one" / LAST, weights_only=True)
    del checkpoint["stage"]
    torch.save(checkpoint, tmp_path / "one" / LAST)
    (tmp_path / "one" / MANIFEST).unlink()
    assert train(tmp_path, voc_root, "one") == 1
    assert "does not say which stage it belongs to" in capsys.readouterr().err


def test_an_interrupted_training_that_was_moved_goes_on(voc_root, tmp_path, monkeypatch):
    save = fit.LastCheckpoint.on_train_epoch_end

    def stop(self, trainer, pl_module):
        save(self, trainer, pl_module)
        raise ValueError("stopped")

    monkeypatch.setattr(fit.LastCheckpoint, "on_train_epoch_end", stop)
    assert train(tmp_path, voc_root, "first") == 1
    monkeypatch.setattr(fit.LastCheckpoint, "on_train_epoch_end", save)
    (tmp_path / "first").rename(tmp_path / "moved")
    assert train(tmp_path, voc_root, "moved") == 0
    assert train(tmp_path, voc_root, "whole") == 0
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "moved"))
    assert not (tmp_path / "first").exists()


def test_one_task_of_slurm_does_not_run_a_stage_of_two_ranks(voc_root, tmp_path, slurm, capsys):
    config = fit_config(voc_root)
    config["trainer"] |= {"devices": 2, "strategy": "ddp"}
    stage = plan_stage(tmp_path / "runs", "train", config)
    assert main(stage.arguments) == 1
    message = capsys.readouterr().err
    assert "planned for 2 processes (trainer.devices 2 x trainer.num_nodes 1)" in message
    assert "started with 1 process (SLURM_NTASKS=1)" in message
    assert "--ntasks-per-node=2" in message
    assert not (stage.path / IDENTITY_FILE).exists()


def test_two_devices_do_not_run_a_stage_of_one(voc_root, tmp_path, capsys):
    stage = plan_stage(tmp_path / "runs", "seed", seed_config(voc_root, None))
    assert main([*stage.arguments, "--trainer.devices=2"]) == 1
    assert "planned for 1 process (" in capsys.readouterr().err


def test_a_second_task_does_not_run_a_stage_of_one(voc_root, tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    config = fit_config(voc_root) | {"out": str(tmp_path / "out")}
    with pytest.raises(ValueError, match="a process of rank 1"):
        FitCLI(config)


def test_an_interrupted_seed_stage_whose_list_changed_is_refused(voc_root, tmp_path, capsys):
    path = tmp_path / "seed.yaml"
    path.write_text(yaml.safe_dump(seed_config(voc_root, None) | {"out": str(tmp_path / "seed")}))
    assert main(["predict", "--config", str(path)]) == 0
    (tmp_path / "seed" / MANIFEST).unlink()
    lists = voc_root / "ImageSets" / "Segmentation" / "train.txt"
    lists.write_text("\n".join(lists.read_text().split()[1:]))
    assert main(["predict", "--config", str(path)]) == 1
    assert "the data of train/images, train/labels, train/lists changed" in capsys.readouterr().err


def test_an_input_that_was_made_again_is_another_input(voc_root, tmp_path, capsys):
    assert train(tmp_path, voc_root, "train", random_seed=1) == 0
    config = seed_config(voc_root, tmp_path / "train") | {"out": str(tmp_path / "seed")}
    path = tmp_path / "seed.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["predict", "--config", str(path)]) == 0
    assert main(["predict", "--config", str(path)]) == 0
    config = refine_config(voc_root, tmp_path / "seed") | {"out": str(tmp_path / "refine")}
    (tmp_path / "refine.yaml").write_text(yaml.safe_dump(config))
    assert main(["refine", "--config", str(tmp_path / "refine.yaml")]) == 0
    shutil.rmtree(tmp_path / "train")
    assert train(tmp_path, voc_root, "train", random_seed=2) == 0
    assert main(["predict", "--config", str(path)]) == 1
    assert "the files of checkpoint are other ones" in capsys.readouterr().err
    (tmp_path / "seed" / "seeds" / "train_1.npz").unlink()
    assert main(["refine", "--config", str(tmp_path / "refine.yaml"), "--refiner.init_args.threshold=0.4"]) == 1
