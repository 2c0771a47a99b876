"""The same table whether stages run on this machine or on the nodes of a cluster."""

from __future__ import annotations

import copy
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import paths
import pytest
import yaml
from test_packing import Silent

from wsss_bench.bench import parsl_launcher
from wsss_bench.bench.cluster import Cluster, Nodes
from wsss_bench.bench.launchers import Job
from wsss_bench.bench.parsl_launcher import ParslLauncher
from wsss_bench.bench.runner import Runner
from wsss_bench.plan.plan import Plan, Stage, StageFolder

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


SAYS_GPUS = """
import os, pathlib, sys, time
print("GPUs", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
time.sleep(float(sys.argv[2]))
if os.environ["CUDA_VISIBLE_DEVICES"] == os.environ.get("WANDB_DEAD_GPU"):
    sys.exit("illegal instruction was encountered")
pathlib.Path(sys.argv[1], "stage.json").write_text("{}")
"""
"""A stand-in for the package, found in the folder of the bench; variables of W&B reach the stages."""


@pytest.fixture
def stand_in(tmp_path, monkeypatch) -> Path:
    (tmp_path / "wsss_bench").mkdir()
    (tmp_path / "wsss_bench" / "__init__.py").touch()
    (tmp_path / "wsss_bench" / "__main__.py").write_text(SAYS_GPUS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return tmp_path


def cluster_of(*nodes: Nodes) -> Cluster:
    return Cluster([Nodes("cores", "cores", "LocalProvider"), *nodes], "127.0.0.1")


def job(folder: Path, seconds: float, gpus: Sequence[str] = ()) -> Job:
    folder.mkdir(exist_ok=True)
    return Job([str(folder), str(seconds)], folder, gpus=gpus)


def wait_for(condition: Callable[[], bool], seconds: float = 150) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def said(folder: Path) -> list[str]:
    return [line for line in (folder / "log.txt").read_text().splitlines() if line.startswith("GPUs")]


@pytest.mark.parametrize("shown", [None, "4,5,GPU-6,7"])
def test_each_stage_on_a_node_has_gpus_of_its_own(stand_in, monkeypatch, shown):
    """Of those that the node shows to its job; Parsl only counts them."""
    if shown is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    cluster = cluster_of(Nodes("pairs", "gpu", "LocalProvider", stages_per_node=2, gpus_per_stage=2))
    gpus = {"a": cluster.machine.gpus[:2], "b": cluster.machine.gpus[2:], "c": ()}
    with closing(ParslLauncher(cluster, stand_in / "parsl")) as launcher:
        launcher.warm_up()
        running = [launcher.start(job(stand_in / name, 3, of)) for name, of in gpus.items()]
        assert wait_for(lambda: all(one.exit_status is not None for one in running))
    assert [one.exit_status for one in running] == [0, 0, 0]
    pairs = {"GPUs 0,1", "GPUs 2,3"} if shown is None else {"GPUs 4,5", "GPUs GPU-6,7"}
    assert {*said(stand_in / "a"), *said(stand_in / "b")} == pairs
    assert [line.strip() for line in said(stand_in / "c")] == ["GPUs"]
    host = os.uname().nodename
    assert {one.gpus for one in running[:2]} == {
        tuple(f"{host}:{gpu}" for gpu in pair.removeprefix("GPUs ").split(",")) for pair in pairs
    }


def test_a_node_with_fewer_gpus_than_the_file_says_is_named(stand_in, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    cluster = cluster_of(Nodes("pairs", "gpu", "LocalProvider", gpus_per_stage=2))
    with closing(ParslLauncher(cluster, stand_in / "parsl")) as launcher:
        launcher.warm_up()
        running = launcher.start(job(stand_in / "a", 0, cluster.machine.gpus))
        assert wait_for(lambda: running.exit_status is not None)
    assert running.exit_status == 1
    log = (stand_in / "a" / "log.txt").read_text()
    assert "has the GPUs 0, 1 of its node, which shows 1 (4); in the file of the cluster" in log


def test_a_stage_does_not_get_the_gpus_that_it_avoids(stand_in, monkeypatch):
    """The worker of the dead GPU, which is free at once, holds back; the other one gets the stage."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("WANDB_DEAD_GPU", "0")
    cluster = cluster_of(Nodes("ones", "gpu", "LocalProvider", stages_per_node=2, gpus_per_stage=1))
    stages = [
        Stage("train", name, {"trainer": {"accelerator": "gpu", "devices": 1}}, {}, name, stand_in / name, "")
        for name in "abcdef"
    ]
    monkeypatch.setattr(Stage, "arguments", property(lambda stage: [str(stage.path), "1"]))
    plan = Plan(**{**dict.fromkeys(Plan.__dataclass_fields__), "stages": {s.fingerprint: s for s in stages}})
    with closing(ParslLauncher(cluster, stand_in / "parsl")) as launcher:
        launcher.warm_up()
        failures = Runner(plan, StageFolder(stand_in), cluster.machine, launcher, Silent()).run()
    assert failures == []
    tries = {stage.title: said(stage.path) for stage in stages}
    assert all(lines[-1] == "GPUs 1" for lines in tries.values())
    assert all(lines[:-1] in ([], ["GPUs 0"]) for lines in tries.values())
    assert ["GPUs 0", "GPUs 1"] in tries.values()


def test_a_lost_job_of_the_queue_leaves_the_executor_alive(stand_in, monkeypatch):
    """Its stage counts as killed, and the next job runs what comes."""
    monkeypatch.setattr(parsl_launcher, "HEARTBEAT_SECONDS", 2)
    with closing(ParslLauncher(cluster_of(), stand_in / "parsl")) as launcher:
        launcher.warm_up()
        lost = launcher.start(job(stand_in / "a", 600))
        assert not lost.has_begun
        assert wait_for(lambda: lost.has_begun)
        (manager, *_) = managers(stand_in)
        os.kill(manager, signal.SIGKILL)
        assert wait_for(lambda: lost.exit_status is not None)
        assert lost.exit_status == -signal.SIGKILL
        # else it would work in its folder beside the next attempt
        assert wait_for(lambda: not processes_of(str(stand_in / "a")), 20)
        following = launcher.start(job(stand_in / "b", 0))
        assert wait_for(lambda: following.exit_status is not None)
    assert following.exit_status == 0, (stand_in / "b" / "log.txt").read_text()


def managers(folder: Path) -> list[int]:
    """The processes of Parsl that hold workers for a launcher in this folder."""
    return processes_of("process_worker_pool", str(folder))


def processes_of(*words: str) -> list[int]:
    """The processes, but shells, whose command lines have all these words."""
    listed = subprocess.run(["ps", "-wweo", "pid,args"], capture_output=True, text=True).stdout.splitlines()
    found = [line.split(maxsplit=1) for line in listed if all(word in line for word in words)]
    return sorted(int(pid) for pid, line in found if "bash" not in line)


def test_jobs_without_work_are_given_back(stand_in):
    """Also while another job of the executor works."""
    cluster = Cluster([Nodes("cores", "cores", "LocalProvider", most_jobs=2)], "127.0.0.1")
    launcher = ParslLauncher(cluster, stand_in / "parsl", idle_seconds=2)
    with closing(launcher):
        launcher.warm_up()
        short, long = launcher.start(job(stand_in / "a", 1)), launcher.start(job(stand_in / "b", 600))
        assert wait_for(lambda: short.exit_status == 0 and long.has_begun)
        assert wait_for(lambda: len(managers(stand_in)) == 1)
        assert long.exit_status is None


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
