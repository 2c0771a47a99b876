"""A stage on several nodes: its nodes meet on a port of their own, and end together."""

from __future__ import annotations

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from simulated import simulate

from wsss_bench.bench import cluster_stage, several_nodes
from wsss_bench.bench.cluster import Cluster, Nodes, check_nodes
from wsss_bench.bench.launchers import Running
from wsss_bench.bench.rendezvous import NotMet, Part, free_port
from wsss_bench.bench.several_nodes import OnSeveralNodes, log_of
from wsss_bench.plan.plan import Plan, Stage, StageFolder


def parts(folder: Path, count: int) -> list[Part]:
    folder.mkdir()
    return [Part(folder, node, count, "127.0.0.1") for node in range(count)]


def test_all_nodes_get_the_address_of_node_0_and_their_number(tmp_path):
    with ThreadPoolExecutor(3) as pool:  # the last one first: any may come first
        met = list(pool.map(lambda part: part.meet(lambda: False, 20), parts(tmp_path / "attempt", 3)[::-1]))
    assert [one["NODE_RANK"] for one in met] == ["2", "1", "0"]
    assert {one["MASTER_ADDR"] for one in met} == {"127.0.0.1"}
    (port,) = {one["MASTER_PORT"] for one in met}
    assert set(met[0]) == {"NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}
    with socket.socket() as probe:
        probe.bind(("", int(port)))


def test_a_port_that_somebody_listens_on_is_not_taken(monkeypatch):
    from wsss_bench.bench import rendezvous

    with socket.socket() as busy:
        busy.bind(("", 0))
        port = busy.getsockname()[1]
        monkeypatch.setattr(rendezvous, "PORTS", range(port, port + 1))
        with pytest.raises(OSError, match=f"no port from {port} to {port} is free"):
            free_port()


def test_nodes_that_do_not_come_are_named(tmp_path):
    first, _, last = parts(tmp_path / "attempt", 3)
    with pytest.raises(NotMet, match="of 3 nodes these have not come: 1, 2") as error:
        first.meet(lambda: False, 0)
    assert error.value.status == 1
    with pytest.raises(NotMet, match=r"node 2 has waited 0 minutes.* not come: 1\. .*nodes: 3"):
        last.meet(lambda: False, 0)


def test_a_node_does_not_wait_after_a_signal_or_for_an_attempt_that_is_over(tmp_path):
    with pytest.raises(NotMet) as error:
        parts(tmp_path / "stopped", 2)[1].meet(lambda: True)
    assert error.value.status == -signal.SIGTERM
    first, last = parts(tmp_path / "attempt", 2)
    threading.Timer(0.2, lambda: first.folder.rename(tmp_path / "over")).start()
    with pytest.raises(NotMet, match="another node"):
        first.meet(lambda: False)
    with pytest.raises(NotMet, match="another node"):  # a worker that gets its part later
        last.meet(lambda: False)
    assert not first.folder.exists()


PROGRAM = """#!/bin/sh
echo "$NODE_RANK at $MASTER_ADDR:$MASTER_PORT local=[$LOCAL_RANK] world=[$WORLD_SIZE] tasks=[$SLURM_NTASKS]"
sleep 60 & wait
"""


@pytest.fixture
def program(tmp_path, monkeypatch) -> Path:
    """Stands for Python: says what it sees, and works for a minute."""
    file = tmp_path / "python"
    file.write_text(PROGRAM)
    file.chmod(0o755)
    monkeypatch.setattr(cluster_stage.sys, "executable", str(file))
    return file


def test_what_a_batch_script_exports_does_not_reach_the_ranks_which_end_with_the_attempt(
    tmp_path, program, monkeypatch
):
    exported = {
        "MASTER_ADDR": "login",
        "MASTER_PORT": "29500",
        "NODE_RANK": "7",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "8",
        "SLURM_NTASKS": "8",
    }
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    (only,) = parts(tmp_path / "attempt", 1)
    log = tmp_path / "log.txt"

    def end() -> None:
        while "at" not in (log.read_text() if log.exists() else ""):
            time.sleep(0.05)
        only.folder.rename(tmp_path / "over")

    ends = threading.Thread(target=end)
    ends.start()
    assert cluster_stage.run_stage(["fit"], str(log), str(tmp_path), {}, False, only) == -signal.SIGKILL
    ends.join()
    said = log.read_text().splitlines()[-1]
    assert said.startswith("0 at 127.0.0.1:")
    assert said.endswith(" local=[] world=[] tasks=[]")
    assert ":29500" not in said


def test_why_the_nodes_did_not_meet_is_in_the_log(tmp_path, program):
    (only,) = parts(tmp_path / "attempt", 1)
    only.folder.rmdir()
    log = tmp_path / "log.txt"
    assert cluster_stage.run_stage(["fit"], str(log), str(tmp_path), {}, False, only) == -signal.SIGKILL
    assert log.read_text().endswith(": another node of this stage has ended\n")


@dataclass
class OnNode(Running):
    """What runs on a node, as a test has it."""

    log: Path
    exit_status: int | None = None
    ended: float = float("inf")
    asked: bool = False

    def end(self, status: int, at: float = 0.0) -> None:
        self.exit_status, self.ended = status, at

    def terminate(self) -> None:
        self.asked = True

    def kill(self) -> None:
        pass


@pytest.fixture
def job(tmp_path) -> tuple[OnSeveralNodes, list[OnNode], Path]:
    """A job on three nodes, of which two have come."""
    folder = tmp_path / "attempt"
    folder.mkdir()
    for node in (0, 1):
        (folder / f"node-{node}.json").write_text("{}")
    nodes = [OnNode(log_of(tmp_path / "log.txt", node)) for node in range(3)]
    return OnSeveralNodes(nodes, folder), nodes, folder


def test_the_node_that_failed_first_says_why_and_the_others_are_ended(job, tmp_path):
    running, nodes, _ = job
    nodes[1].log.write_text("ValueError: the cause\n")
    assert running.exit_status is None
    nodes[0].end(1, at=2.0)  # it has lost its connection to node 1
    nodes[1].end(3, at=1.0)
    nodes[2].end(-9, at=3.0)
    assert running.exit_status == 3
    log = nodes[0].log.read_text()
    assert log.endswith(
        f"node 1 ended first (exit status 3); its log {nodes[1].log} ends with:\nValueError: the cause\n"
    )
    assert list(tmp_path.glob("attempt*")) == []


def test_a_stage_has_not_ended_while_a_node_works_in_it(job):
    running, nodes, folder = job
    nodes[1].end(-signal.SIGKILL)
    assert running.exit_status is None  # node 0 is there; it sees that the folder is gone
    assert not folder.exists()
    nodes[0].end(-signal.SIGTERM)
    assert running.exit_status == -signal.SIGKILL  # node 2 never came, and will start nothing


def test_a_stage_is_complete_when_it_is_on_node_0(job, monkeypatch):
    running, nodes, folder = job
    nodes[1].end(0)
    assert running.exit_status is None
    nodes[0].end(0)
    assert running.exit_status is None
    assert folder.exists()  # node 2 may end by itself
    monkeypatch.setattr(several_nodes, "PATIENCE_SECONDS", 0.0)
    assert running.exit_status == 0
    nodes[2].end(1)
    assert running.exit_status == 0


def test_nodes_that_are_asked_to_end_may_write_a_checkpoint(job):
    running, nodes, folder = job
    running.terminate()
    assert all(node.asked for node in nodes)
    assert running.exit_status == -signal.SIGTERM
    running.kill()
    assert folder.exists()


def test_a_stage_whose_lock_is_lost_ends_on_all_nodes(job):
    running, nodes, folder = job
    running.kill()
    assert not folder.exists()
    assert running.exit_status is None
    nodes[0].end(-9)
    nodes[1].end(-9)
    assert running.exit_status == -signal.SIGKILL


def training(root: Path, name: str, gpus: int, nodes: int = 1) -> Stage:
    trainer = {"accelerator": "gpu", "devices": gpus} if gpus else {"accelerator": "cpu"}
    return Stage("train", name, {"trainer": trainer | {"num_nodes": nodes}}, {}, name, root / "stages" / name)


FOURS = Nodes("fours", "gpu", "SlurmProvider", gpus_per_stage=4, nodes=2)
CLUSTER = Cluster([Nodes("cores", "cores", "LocalProvider"), Nodes("ones", "gpu", "L", 8, 1, 1), FOURS])


def test_no_more_nodes_are_taken_than_there_are(tmp_path, monkeypatch):
    """Two stages of two nodes each on two nodes; GPUs of other nodes do not count."""
    stages = [training(tmp_path, name, 4, 2) for name in ("a", "b")]
    stages += [training(tmp_path, "one node", 4), training(tmp_path, "one gpu", 1)]
    seconds = {"a": 100.0, "b": 90.0, "one node": 10.0, "one gpu": 150.0}
    plan = Plan(**{**dict.fromkeys(Plan.__dataclass_fields__), "stages": {s.fingerprint: s for s in stages}})
    found = simulate(monkeypatch, plan, StageFolder(tmp_path), CLUSTER.machine, lambda s: seconds[s.title])
    assert found.failures == []
    assert [found.begin(name) for name in ("one gpu", "a")] == [0.0, 0.0]
    names = {one.stage.title: one.gpus for one in found.history}
    assert names["a"] == names["b"] == FOURS.gpus
    assert len(FOURS.gpus) == 8
    assert names["one gpu"] == ("ones-0",)
    on_fours = sorted((one.begin, one.end) for one in found.history if one.gpus[0].startswith("fours"))
    assert all(end <= begin for (_, end), (begin, _) in pairwise(on_fours))


def test_jobs_with_as_many_nodes_come_first():
    """The queue gives the nodes of a job at the same time."""
    single = replace(FOURS, name="single", nodes=1, most_jobs=4)
    cluster = Cluster([*CLUSTER.executors[:2], single, FOURS])
    names = [found.name if (found := cluster.nodes_for(4, count)) else None for count in (1, 2, 3, 5)]
    assert names == ["single", "fours", "single", None]


@pytest.mark.parametrize(
    ("cluster", "stage", "message"),
    [
        (None, (4, 2), r"train x asks for 2 nodes .*this machine is one; .*--launcher parsl.*num_nodes: 1"),
        (CLUSTER, (4, 3), r"3 nodes with 4 GPU\(s\).*fours 2 \(nodes 2 x most_jobs 1\). Set nodes: 3"),
        (CLUSTER, (0, 2), r"2 nodes with 0 GPU\(s\).*cores 1 \(nodes 1 x most_jobs 1\)"),
        (CLUSTER, (3, 2), r"asks for 3 GPU\(s\) of each node.*gpus_per_stage: 3"),
    ],
)
def test_too_many_nodes_are_refused_before_anything_is_submitted(tmp_path, cluster, stage, message):
    with pytest.raises(ValueError, match=message):
        check_nodes(cluster, [training(tmp_path, "x", *stage)])


def test_enough_nodes_are_not_refused(tmp_path):
    check_nodes(None, [training(tmp_path, "x", 4)])
    check_nodes(CLUSTER, [training(tmp_path, name, *of) for name, of in {"x": (4, 2), "y": (1, 1)}.items()])
