"""The same table whether stages run on this machine or on the nodes of a cluster."""

from __future__ import annotations

import copy
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import paths
import pytest
import yaml

from wsss_bench.bench.cluster import Cluster, Nodes
from wsss_bench.bench.launchers import Job
from wsss_bench.bench.parsl_launcher import ParslLauncher

pytest.importorskip("parsl")
pytestmark = pytest.mark.slow

LOCAL = {
    "address": "127.0.0.1",
    "executors": [
        {"name": "cores", "stages": "cores", "provider": "LocalProvider", "stages_per_node": 2},
    ],
}
SLURM = {
    "address": "127.0.0.1",
    "executors": [
        {
            "name": "cores",
            "stages": "cores",
            "provider": "SlurmProvider",
            "stages_per_node": 2,
            "options": {
                "partition": "debug",
                "walltime": "00:20:00",
                "cores_per_node": 2,
                "exclusive": False,
            },
        },
    ],
}


def has_slurm() -> bool:
    """Whether there is a queue with a node that has nothing to do."""
    if shutil.which("sinfo") is None:
        return False
    done = subprocess.run(["sinfo", "-h", "-t", "idle"], capture_output=True, text=True, timeout=20)
    return done.returncode == 0 and "idle" in done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An experiment without training: CLIP zero-shot on a handful of images."""
    experiment = {"methods": ["clip_zeroshot"], "data": ["few"], "refiners": ["threshold"], "trainer": "cpu"}
    return experiment_of(tmp_path_factory.mktemp("cluster"), experiment)


def experiment_of(root: Path, experiment: dict, split: str = "few", images: int = 4) -> Path:
    (root / "configs" / "data").mkdir(parents=True)
    (root / "experiments").mkdir()
    data = yaml.safe_load((paths.CONFIGS / "data" / "mini.yaml").read_text())
    few = {"train_split": split, "eval_splits": ["val"], "counts": {split: images, "val": 16}, "holdout": 0}
    data["protocol"] |= {**few, "ss_raw_only": [], "prepare": [], "overlay": "mini"}
    (root / "configs" / "data" / "few.yaml").write_text(yaml.safe_dump(data))
    (root / "experiments" / "few.yaml").write_text(yaml.safe_dump(experiment))
    return root


def bench_command(runs: str, *options: str, experiment: str = "few") -> list[str]:
    return [sys.executable, "-m", "wsss_bench", "bench", experiment, "--runs", runs, *options]


def variables() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(paths.ROOT / "src"), "WANDB_MODE": "disabled"}


def bench(
    folder: Path, runs: str, *options: str, experiment: str = "few"
) -> subprocess.CompletedProcess[str]:
    command = bench_command(runs, *options, experiment=experiment)
    return subprocess.run(command, cwd=folder, env=variables(), capture_output=True, text=True, timeout=400)


def scores(folder: Path, runs: str) -> list[tuple[str, str, str]]:
    (table,) = (folder / runs).glob("few*/leaderboard.csv")
    with open(table, newline="") as file:
        return [(row["method"], row["protocol"], row["miou_mean"]) for row in csv.DictReader(file)]


def on_cluster(folder: Path, runs: str, cluster: dict) -> subprocess.CompletedProcess[str]:
    file = folder / f"{runs}.yaml"
    file.write_text(yaml.safe_dump(cluster))
    return bench(folder, runs, "--launcher", "parsl", "--cluster", str(file))


def clusters() -> dict[str, dict]:
    """What can be tried here."""
    return {"nodes": LOCAL} | ({"slurm": SLURM} if has_slurm() else {})


@pytest.fixture(scope="module")
def expected(folder, mini_data) -> list[tuple[str, str, str]]:
    """The scores of the local launcher."""
    assert bench(folder, "alone").returncode == 0
    found = scores(folder, "alone")
    assert len(found) >= 6
    return found


def test_local_nodes_and_a_queue_give_the_table_of_the_local_launcher(folder, expected):
    for runs, cluster in clusters().items():
        done = on_cluster(folder, runs, cluster)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert scores(folder, runs) == expected
    again = bench(folder, "nodes")  # the stages are those of any launcher
    assert "0 to run" in again.stdout


def test_two_benches_at_once_on_nodes_have_the_table_of_one(folder, expected):
    """Each has nodes of its own; a stage that one has begun, the other one waits for."""
    for name, cluster in clusters().items():
        file = folder / f"{name}-pair.yaml"
        file.write_text(yaml.safe_dump(cluster))
        command = bench_command(f"{name}-pair", "--launcher", "parsl", "--cluster", str(file))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        both = [subprocess.Popen(command, cwd=folder, env=variables(), **pipes) for _ in range(2)]
        said = [one.communicate(timeout=600)[0] for one in both]
        assert [one.returncode for one in both] == [0, 0], "\n".join(text[-2000:] for text in said)
        assert scores(folder, f"{name}-pair") == expected
        started = re.findall(r"\] start +(.+)", "".join(said))
        assert len(started) == len(set(started)) > 0


def test_a_queue_that_refuses_is_named(folder, mini_data, tmp_path):
    """No `sbatch` is on the path, or it knows no such partition: the stages say so, and the bench ends."""
    refusing = copy.deepcopy(SLURM)
    refusing["executors"][0]["options"]["partition"] = "nosuch"
    done = on_cluster(folder, "refused", refusing)
    assert done.returncode == 1
    assert "the cluster ended this stage" in done.stderr
    assert ("invalid partition" if has_slurm() else "sbatch") in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--launcher", "parsl"],
        ["--cluster", "x.yaml"],
        ["--launcher", "parsl", "--cluster", "x.yaml", "--jobs", "2"],
    ],
)
def test_options_that_do_not_go_together(folder, options):
    done = bench(folder, "none", *options)
    assert done.returncode == 2
    assert "--cluster" in done.stderr


def test_each_stage_on_a_node_has_gpus_of_its_own(tmp_path, monkeypatch):
    """The stages say what they see: a stand-in for the package, found in the folder of the bench."""
    (tmp_path / "wsss_bench").mkdir()
    (tmp_path / "wsss_bench" / "__init__.py").touch()
    program = "import os, time\nprint('GPUs', os.environ['CUDA_VISIBLE_DEVICES'])\ntime.sleep(3)\n"
    (tmp_path / "wsss_bench" / "__main__.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    nodes = Nodes("pairs", "gpu", "LocalProvider", stages_per_node=2, gpus_per_stage=2)
    cluster = Cluster([Nodes("cores", "cores", "LocalProvider"), nodes], "127.0.0.1")
    gpus = {"a": cluster.machine.gpus[:2], "b": cluster.machine.gpus[2:], "c": ()}
    with closing(ParslLauncher(cluster, tmp_path / "parsl")) as launcher:
        launcher.warm_up()
        running = [launcher.start(Job(["fit"], tmp_path / name, gpus=of)) for name, of in gpus.items()]
        deadline = time.monotonic() + 120
        while any(one.exit_status is None for one in running) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert [one.exit_status for one in running] == [0, 0, 0]
    said = {name: (tmp_path / name / "log.txt").read_text().splitlines()[-1] for name in gpus}
    assert {said["a"], said["b"]} == {"GPUs 0,1", "GPUs 2,3"}
    assert said["c"].strip() == "GPUs"


def test_a_machine_without_gpus_may_submit_stages_that_need_them(folder, mini_data):
    """They reach the node, and say there what they lack."""
    experiment = yaml.safe_load((folder / "experiments" / "few.yaml").read_text())
    (folder / "experiments" / "few_gpu.yaml").write_text(yaml.safe_dump(experiment | {"trainer": "gpu"}))
    executors = [
        *LOCAL["executors"],
        {**LOCAL["executors"][0], "name": "gpus", "stages": "gpu", "gpus_per_stage": 1},
    ]
    file = folder / "gpus.yaml"
    file.write_text(yaml.safe_dump({**LOCAL, "executors": executors}))
    done = bench(folder, "gpus", "--launcher", "parsl", "--cluster", str(file), experiment="few_gpu")
    assert done.returncode == 1
    assert "FAILED seed clip_zeroshot-few-s0" in done.stderr
    assert "nothing was started" not in done.stderr


STEPS = 150


def test_a_training_whose_job_is_ended_goes_on_in_the_next_one(tmp_path, mini_data):
    """Slurm ends a job whose walltime is over as one that is cancelled: SIGTERM, and later SIGKILL."""
    if not has_slurm():
        pytest.skip("no queue with an idle node")
    experiment = {"methods": ["cam"], "data": ["few"], "refiners": ["threshold"], "trainer": "cpu"}
    folder = experiment_of(tmp_path, experiment, "few_train", 20)
    changes = ("data.global_batch_size=4", f"trainer.max_steps={STEPS}", "trainer.max_epochs=-1")
    settings = [word for change in changes for word in ("--set", change)]
    assert bench(folder, "alone", *settings).returncode == 0
    file = folder / "slurm.yaml"
    file.write_text(yaml.safe_dump(SLURM))
    command = bench_command("slurm", "--launcher", "parsl", "--cluster", str(file), *settings)
    with subprocess.Popen(
        command, cwd=folder, env=variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = time.monotonic() + 200
        while steps_done(folder) < STEPS // 10:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        jobs = jobs_of(folder)
        assert jobs
        subprocess.run(["scancel", *jobs], check=True)
        output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output[-3000:]
    (log,) = folder.glob("slurm/stages/train-cam-*/log.txt")
    assert "stopped by SIGTERM after step" in log.read_text()
    assert scores(folder, "slurm") == scores(folder, "alone")


def jobs_of(folder: Path) -> list[str]:
    """The jobs that were submitted from a folder, and no other job of this user."""
    done = subprocess.run(["squeue", "-h", "-o", "%i %Z"], capture_output=True, text=True, check=True)
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    return [job for job, _, place in lines if Path(place).is_relative_to(folder)]


def steps_done(folder: Path) -> int:
    progress = next(folder.glob("slurm/stages/train-cam-*/progress.json"), None)
    return json.loads(progress.read_text())["done"] if progress else 0
