"""Files of `configs/clusters`: what they mean, and what is refused before anything is asked of a queue."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace

import paths
import pytest
import yaml

from wsss_bench.bench import cluster_stage
from wsss_bench.bench.cluster import Cluster, Nodes, check_nodes, read_cluster
from wsss_bench.plan.plan import Stage
from wsss_bench.plan.schema import ConfigError

pytest.importorskip("parsl")
from parsl.jobs.states import JobState, JobStatus

from wsss_bench.bench.parsl_launcher import executor_of, fail_if_refused

CORES = {"name": "cores", "stages": "cores", "provider": "LocalProvider", "stages_per_node": 3}
GPUS = {
    "name": "gpus",
    "stages": "gpu",
    "provider": "SlurmProvider",
    "stages_per_node": 4,
    "gpus_per_stage": 1,
    "nodes": 2,
    "most_jobs": 3,
    "options": {"partition": "gpu", "walltime": "10:00:00"},
}


def written(tmp_path: Path, *executors: dict) -> Path:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump({"executors": list(executors)}))
    return file


@pytest.mark.parametrize(
    "file", sorted((paths.CONFIGS / "clusters").glob("*.yaml")), ids=lambda file: file.stem
)
def test_shipped_files_are_what_parsl_takes(file):
    cluster = read_cluster(file)
    assert cluster.machine.jobs >= 2
    assert bool(cluster.machine.gpus) == file.stem.startswith("slurm")


def test_stages_at_a_time_are_counted_over_nodes_and_jobs(tmp_path):
    machine = read_cluster(written(tmp_path, CORES, GPUS)).machine
    assert machine.jobs == 3
    assert len(machine.gpus) == len(set(machine.gpus)) == machine.jobs_on_gpus == 4 * 2 * 3


def test_a_stage_goes_to_nodes_with_as_many_gpus_as_it_asks_for(tmp_path):
    pairs = {**GPUS, "name": "pairs", "gpus_per_stage": 2}
    cluster = read_cluster(written(tmp_path, CORES, GPUS, pairs))
    names = [nodes.name if (nodes := cluster.nodes_for(count)) else None for count in range(4)]
    assert names == ["cores", "gpus", "pairs", None]
    three = Stage("train", "x", {"trainer": {"accelerator": "gpu", "devices": 3}}, {}, "0", Path("0"), "")
    with pytest.raises(
        ValueError, match=r"train x asks for 3 GPU\(s\).*cores 0, gpus 1, pairs 2.*gpus_per_stage: 3"
    ):
        check_nodes(cluster, [three])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"provider": "SlurmProvidr"}, r"executors\[1\]\.provider.*did you mean 'SlurmProvider'"),
        (
            {"options": {"partion": "gpu"}},
            r"executors\[1\]\.options\.partion: SlurmProvider.*did you mean 'partition'",
        ),
        ({"options": {"max_blocks": 9}}, r"options\.max_blocks: SlurmProvider has no such argument"),
        ({"gpus_per_stage": 0}, r"gpus_per_stage is 0 for 'gpu' stages"),
        ({"stages_per_node": 0}, r"stages_per_node is 0"),
        ({"walltime": "1:00:00"}, r"executors\[1\]\.walltime: unknown key"),
        ({"name": "cores"}, r"names occur twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        read_cluster(written(tmp_path, CORES, {**GPUS, **changes}))


@pytest.mark.parametrize(
    ("provider", "options", "message"),
    [
        (
            "SlurmProvider",
            {"walltime": 86400},
            r"options\.walltime is 86400; expected hours, minutes and seconds",
        ),
        ("SlurmProvider", {"walltime": "1-00:00:00"}, r"options\.walltime is '1-00:00:00'"),
        ("SlurmProvider", {"walltime": "24:00"}, r"options\.walltime is '24:00'"),
        ("PBSProProvider", {"walltime": "1 day"}, r"options\.walltime is '1 day'"),
        (
            "SlurmProvider",
            {"cores_per_node": "32"},
            r"SlurmProvider cannot be made: argument \"cores_per_node\"",
        ),
        ("SlurmProvider", {"scheduler_options": 5}, r"cannot be made: argument \"scheduler_options\""),
        ("AWSProvider", {}, r"AWSProvider cannot be made: .*'image_id'"),
        ("KubernetesProvider", {"image": "a"}, r"KubernetesProvider cannot be made: .*kubernetes"),
        ("PBSProProvider", {"account": "a"}, None),
        ("LSFProvider", {"walltime": "10:00:00"}, None),
        ("TorqueProvider", {}, None),
    ],
)
def test_a_provider_that_cannot_be_made_is_refused_before_anything_is_asked_of_it(
    tmp_path, provider, options, message
):
    file = written(tmp_path, CORES, {**GPUS, "provider": provider, "nodes": 1, "options": options})
    if message is None:
        assert executor_of(read_cluster(file).executors[1], read_cluster(file)).provider.max_blocks == 3
        return
    with pytest.raises(ConfigError, match=rf"executors\[1\]\..*{message}"):
        read_cluster(file)


def test_jobs_of_several_nodes_need_srun(tmp_path):
    with pytest.raises(
        ConfigError, match=r"executors\[1\]\.nodes: jobs of several nodes need the SlurmProvider"
    ):
        read_cluster(written(tmp_path, CORES, {**GPUS, "provider": "PBSProProvider", "options": {}}))


@pytest.mark.parametrize(
    ("twice", "message"),
    [
        ({**GPUS, "name": "others"}, "gpus and others both have gpus_per_stage: 1 and nodes: 2"),
        ({**CORES, "name": "more", "nodes": 2}, "cores and more both have stages: cores"),
    ],
)
def test_nodes_that_no_stage_would_go_to_are_refused(tmp_path, twice, message):
    with pytest.raises(ConfigError, match=f"{message}, so that no stage would go to the second one"):
        read_cluster(written(tmp_path, CORES, GPUS, twice))
    read_cluster(written(tmp_path, CORES, GPUS, {**GPUS, "name": "single", "nodes": 1}))


def status(state: str, job: int) -> JobStatus:
    return JobStatus(JobState[state], f"said of job {job}")


@pytest.mark.parametrize(
    ("states", "connected", "fails"),
    [
        (["FAILED"], [], False),
        (["FAILED"] * 3, [], True),
        (["FAILED"] * 3, ["0"], False),
        (["COMPLETED", *["FAILED"] * 12], ["0"], True),
        (["FAILED", "FAILED", "RUNNING", "FAILED"], [], False),
        (["TIMEOUT"] * 5, [], False),
    ],
)
def test_an_executor_fails_when_the_queue_refuses_its_jobs_and_not_when_it_loses_them(
    states, connected, fails
):
    said = []
    executor = SimpleNamespace(
        connected_blocks=lambda: connected, set_bad_state_and_fail_all=lambda error: said.append(str(error))
    )
    fail_if_refused(executor, {str(job): status(state, job) for job, state in enumerate(states)})
    assert bool(said) == fails
    if fails:
        assert "said of job 2" in said[0]


def test_scoring_needs_cores(tmp_path):
    with pytest.raises(ConfigError, match="none of them is for 'cores' stages"):
        read_cluster(written(tmp_path, GPUS))


PRINT = """#!/bin/sh
echo "gpus=[$CUDA_VISIBLE_DEVICES] tasks=[$SLURM_NTASKS] port=[$MASTER_PORT]" \\
    "workers=[$WSSS_WORKERS] $PWD $*"
kill -s "${SIGNAL:-0}" $$
"""


def test_a_stage_on_a_node_sees_its_gpus_and_nothing_of_the_batch_script(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text(PRINT)
    program.chmod(0o755)
    monkeypatch.setattr(cluster_stage.sys, "executable", str(program))
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")  # as Parsl sets it for a worker
    log = str(tmp_path / "log.txt")
    for on_gpus in (True, False):
        assert cluster_stage.run_stage(["fit"], log, str(tmp_path), {"WSSS_WORKERS": "3"}, on_gpus) == 0
    said = [line for line in Path(log).read_text().splitlines() if line.startswith("gpus=")]
    common = f"tasks=[] port=[] workers=[3] {tmp_path} -m wsss_bench fit"
    assert said == [f"gpus=[2] {common}", f"gpus=[] {common}"]
    status = cluster_stage.run_stage(["fit"], log, str(tmp_path), {"SIGNAL": "TERM"}, False)
    assert status == -signal.SIGTERM


STOPS = """#!/bin/sh
trap 'kill $! 2>/dev/null; echo stopped; exit 143' TERM
kill -TERM $PPID
sleep 30 & wait
"""


def test_a_worker_that_gets_a_signal_passes_it_on_and_waits_for_the_stage(tmp_path, monkeypatch):
    """At the end of a walltime Slurm sends SIGTERM to every process of a pilot."""
    program = tmp_path / "python"
    program.write_text(STOPS)
    program.chmod(0o755)
    monkeypatch.setattr(cluster_stage.sys, "executable", str(program))
    log = tmp_path / "log.txt"
    assert cluster_stage.run_stage(["fit"], str(log), str(tmp_path), {}, False) == 143
    assert log.read_text().endswith("stopped\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_nodes_are_told_where_the_bench_is():
    nodes = [Nodes("cores", "cores", "LocalProvider")]
    assert Cluster(nodes, "10.0.0.1").own_address == "10.0.0.1"
    assert Cluster(nodes).own_address
