"""A stage keeps to its folder and to its plan, whatever a cluster or another stage left behind."""

from __future__ import annotations

import shutil
import signal

import pytest
import torch
import yaml
from lightning.pytorch.utilities import rank_zero_only
from planned_stages import fit_config, plan_stage, seed_config

from wsss_bench.artifacts.files import MANIFEST, is_complete
from wsss_bench.artifacts.layout import IDENTITY_FILE, LAST
from wsss_bench.cli import main
from wsss_bench.stages import fit
from wsss_bench.stages.fit import FitCLI
from wsss_bench.stages.inside_epoch import InsideEpoch

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


def train(folder, root, name, random_seed=1):
    """Two epochs of one step each."""
    config = fit_config(root) | {"seed_everything": random_seed, "out": str(folder / name)}
    config["data"]["train_split"] = "few"
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return main(["fit", "--config", str(path)])


def weights(folder):
    return torch.load(folder / LAST, weights_only=True)["state_dict"]


def same(one, other):
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.fixture(scope="module")
def root(mini_data):
    return mini_data / "mini" / "voc"


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """A folder with the train stages `one` and `two`, of two random seeds."""
    folder = tmp_path_factory.mktemp("trained")
    for random_seed, name in ((1, "one"), (2, "two")):
        assert train(folder, root, name, random_seed) == 0
    return folder


def test_a_checkpoint_of_lightning_is_never_loaded(root, trained, tmp_path, monkeypatch, slurm):
    """Neither from the working directory nor from the folder of the stage."""
    for name in ("work", "stage"):
        (tmp_path / name).mkdir()
        shutil.copy(trained / "two" / LAST, tmp_path / name / "hpc_ckpt_1.ckpt")
    monkeypatch.chdir(tmp_path / "work")
    assert train(tmp_path, root, "stage") == 0
    assert same(trained / "one", tmp_path / "stage")
    assert not same(trained / "two", tmp_path / "stage")


def test_lightning_neither_writes_checkpoints_nor_submits_jobs(root, tmp_path, monkeypatch, slurm):
    """It would do so on SIGUSR1."""
    handlers = []
    save = fit.LastCheckpoint.on_train_epoch_end

    def noted(self, trainer, pl_module):
        handlers.append(signal.getsignal(signal.SIGUSR1))
        save(self, trainer, pl_module)

    monkeypatch.setattr(fit.LastCheckpoint, "on_train_epoch_end", noted)
    assert train(tmp_path, root, "stage") == 0
    assert [type(handler.__self__) for handler in handlers] == [InsideEpoch] * 2


def test_the_checkpoint_of_another_random_seed_is_refused(root, trained, tmp_path, capsys):
    shutil.copytree(trained / "one" / "checkpoints", tmp_path / "two" / "checkpoints")
    shutil.copy(trained / "two" / IDENTITY_FILE, tmp_path / "two")  # the stage has begun
    assert train(tmp_path, root, "two", random_seed=2) == 1
    message = capsys.readouterr().err
    assert "belongs to another stage: " in message
    assert "seed_everything (there: 1, here: 2)" in message
    assert not is_complete(tmp_path / "two")


def test_a_checkpoint_that_does_not_say_whose_it_is_is_refused(root, trained, tmp_path, capsys):
    checkpoint = torch.load(trained / "one" / LAST, weights_only=True)
    del checkpoint["stage"]
    (tmp_path / "one" / LAST).parent.mkdir(parents=True)
    torch.save(checkpoint, tmp_path / "one" / LAST)
    shutil.copy(trained / "one" / IDENTITY_FILE, tmp_path / "one")
    assert train(tmp_path, root, "one") == 1
    assert "does not say which stage it belongs to" in capsys.readouterr().err


def test_an_interrupted_training_that_was_moved_goes_on(root, trained, tmp_path, monkeypatch):
    save = fit.LastCheckpoint.on_train_epoch_end

    def stop(self, trainer, pl_module):
        save(self, trainer, pl_module)
        raise RuntimeError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(fit.LastCheckpoint, "on_train_epoch_end", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            train(tmp_path, root, "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    assert train(tmp_path, root, "moved") == 0
    assert same(trained / "one", tmp_path / "moved")
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


def predict(folder, config):
    path = folder / "seed.yaml"
    path.write_text(yaml.safe_dump(config | {"out": str(folder / "seed")}))
    return main(["predict", "--config", str(path)])


def test_an_interrupted_seed_stage_whose_list_changed_is_refused(voc_root, tmp_path, capsys):
    assert predict(tmp_path, seed_config(voc_root, None)) == 0
    (tmp_path / "seed" / MANIFEST).unlink()
    lists = voc_root / "ImageSets" / "Segmentation" / "train.txt"
    lists.write_text("\n".join(lists.read_text().split()[1:]))
    assert predict(tmp_path, seed_config(voc_root, None)) == 1
    assert "the data of train/images, train/labels, train/lists changed" in capsys.readouterr().err


def test_an_input_that_was_made_again_is_another_input(root, trained, tmp_path, capsys):
    shutil.copytree(trained / "one", tmp_path / "train")
    config = seed_config(root, tmp_path / "train") | {"split": "few"}
    for _ in range(2):
        assert predict(tmp_path, config) == 0
    shutil.rmtree(tmp_path / "train")
    shutil.copytree(trained / "two", tmp_path / "train")
    assert predict(tmp_path, config) == 1
    assert "the files of checkpoint are other ones" in capsys.readouterr().err
