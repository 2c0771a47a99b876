"""Stages forked from one forkserver do not disturb each other."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import paths
import pytest
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import Trainer

from wsss_bench.bench.launchers import Job, LocalLauncher, environment_of, run_to_end

SCRIPT = """
import sys, time
from pathlib import Path

from preloaded import look
from wsss_bench.bench.launchers import Job, LocalLauncher

if __name__ == "__main__":
    launcher = LocalLauncher(look, preload=("preloaded",))
    for name in ("first", "second"):
        running = launcher.start(Job([], Path(sys.argv[1]) / name))
        while (status := running.exit_status) is None:
            time.sleep(0.01)
        print(name, status)
"""


def test_a_stage_that_ends_deletes_no_folder_that_others_use(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    # the forkserver finds the module through the environment only
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT / "tests")}
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["first 0", "second 0"], done.stdout + done.stderr


def show_variable(arguments: list[str]) -> int:
    """Stage that prints an environment variable."""
    print(f"value: {os.environ.get(arguments[0])}")
    return 0


MEMORY = """
import resource, sys
from pathlib import Path

from wsss_bench.bench.launchers import Job, LocalLauncher, run_to_end


def step():
    _ = [b"x" * (20 * 2**20) for _ in range(8)]


def touch_memory(arguments):
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    print("faults:", resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return 0


if __name__ == "__main__":
    sys.exit(run_to_end(LocalLauncher(touch_memory, preload=()), Job([], Path(sys.argv[1]))))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_stage_keeps_the_memory_that_it_frees(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(MEMORY)  # in a process of its own: glibc reads the setting when the forkserver starts
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=60)
    faults = int((tmp_path / "log.txt").read_text().split("faults: ")[1])
    assert faults < 8 * 5120  # the pages of one step; without the setting those of five


@pytest.mark.parametrize("value", ["first", "second", None])
def test_a_stage_has_the_environment_of_its_bench_not_that_of_an_earlier_one(tmp_path, monkeypatch, value):
    launcher = LocalLauncher(show_variable, preload=())
    launcher.warm_up()  # all benches of this process share one forkserver
    if value is not None:
        monkeypatch.setenv("WSSS_TEST_VALUE", value)
    assert run_to_end(launcher, Job(["WSSS_TEST_VALUE"], tmp_path)) == 0
    assert f"value: {value}" in (tmp_path / "log.txt").read_text()


EXPORTED = {
    "sbatch -n2": {"SLURM_NTASKS": "2", "SLURM_NPROCS": "2", "SLURM_JOB_NAME": "night", "SLURM_JOB_ID": "7"},
    "srun": {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0"},
    "a script for torch": {"MASTER_ADDR": "login", "MASTER_PORT": "29500", "WORLD_SIZE": "2", "RANK": "1"},
    "torchrun": {"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "2"},
    "Lightning": {"STANDALONE_PORT": "29500", "NODE_RANK": "1"},
    "jsrun": {"LSB_JOBID": "7", "JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "2"},
}


@pytest.mark.parametrize("exported", EXPORTED.values(), ids=EXPORTED.keys())
def test_ranks_of_a_stage_follow_from_its_trainer_not_from_what_is_exported(tmp_path, monkeypatch, exported):
    """Two such stages at a time on one machine have a port each."""
    for name in EXPORTED["sbatch -n2"].keys() | exported.keys():
        monkeypatch.setenv(name, "2")
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    environments = [environment_of(Job([], tmp_path / name, ranks=True)) for name in ("first", "second")]
    ports = set()
    for environment in environments:
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", environment)
            trainer = Trainer(
                accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False
            )
            found = trainer.strategy.cluster_environment
            assert isinstance(found, LightningEnvironment)
            assert not found.creates_processes_externally
            assert (trainer.world_size, trainer.global_rank, found.main_address) == (2, 0, "127.0.0.1")
            ports.add(found.main_port)
    assert len(ports) == 2
    assert 29500 not in ports
    assert environments[0].get("SLURM_JOB_ID") == os.environ["SLURM_JOB_ID"]  # W&B and others may read it


def test_stages_write_no_colours_and_the_bench_may(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    LocalLauncher(preload=())
    assert "NO_COLOR" not in os.environ
    assert environment_of(Job([], tmp_path))["NO_COLOR"] == "1"
