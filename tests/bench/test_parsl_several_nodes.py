"""Trainings on two nodes of Parsl, which two jobs of its local provider stand for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import paths
import pytest
import torch
from conftest import write_voc
from planned_stages import fit_config, plan_stage
from test_packing import Silent

from wsss_bench.artifacts.layout import LAST, LOG_FILE, PROGRESS, find_json, find_manifest
from wsss_bench.bench.cluster import Cluster, Nodes
from wsss_bench.bench.launchers import Job
from wsss_bench.bench.parsl_launcher import ParslLauncher
from wsss_bench.bench.runner import Runner
from wsss_bench.bench.several_nodes import log_of
from wsss_bench.cli import main
from wsss_bench.plan.plan import Stage, StageFolder

pytest.importorskip("parsl")
pytestmark = pytest.mark.slow

CLUSTER = Cluster([Nodes("cores", "cores", "LocalProvider", most_jobs=2)], "127.0.0.1")


@pytest.fixture(scope="module")
def launcher(tmp_path_factory) -> Iterator[ParslLauncher]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(paths.ROOT / "src"))
        patch.setenv("MASTER_PORT", "1")  # as a batch script may export it
        with closing(ParslLauncher(CLUSTER, tmp_path_factory.mktemp("parsl"))) as started:
            started.warm_up()
            yield started


PROGRAM = """
import os, sys, time
print(os.environ["NODE_RANK"], os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"], flush=True)
if os.environ["NODE_RANK"] == "1":
    sys.exit("ValueError: node 1 cannot go on")
time.sleep(300)
"""


def test_a_node_that_fails_ends_the_others(tmp_path, monkeypatch, launcher, tmp_path_factory):
    """A stand-in for the package, found in the folder of the bench."""
    (tmp_path / "wsss_bench").mkdir()
    (tmp_path / "wsss_bench" / "__init__.py").touch()
    (tmp_path / "wsss_bench" / "__main__.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    stages = [tmp_path / name for name in ("first", "second")]
    running = [launcher.start(Job(["fit"], folder, nodes=2)) for folder in stages]
    deadline = time.monotonic() + 120
    while any(one.exit_status is None for one in running) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [one.exit_status for one in running] == [1, 1]
    ports = set()
    for folder in stages:
        first, second = (log_of(folder / LOG_FILE, node).read_text() for node in (0, 1))
        assert first.endswith("ValueError: node 1 cannot go on\n")
        assert "node 1 ended first (exit status 1)" in first
        said = [next(line for line in text.splitlines() if " 127.0.0.1 " in line) for text in (first, second)]
        assert [line[0] for line in said] == ["0", "1"]
        assert said[0][1:] == said[1][1:]
        ports.add(said[0])
    assert len(ports) == 2
    assert list(tmp_path_factory.getbasetemp().rglob("parsl*/**/attempt*")) == []


class Disturbing(Silent):
    """A bench during which the worker of node 1 gets SIGTERM, and the process of this node then dies."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.said = stage, list[str]()
        self.disturbed, self.least = 0, 2

    def tick(self, snapshot) -> None:
        done = find_json(self.stage.path / PROGRESS).get("done", 0)
        if self.disturbed == len(self.said) < 2 and done >= self.least:
            process = process_of(self.stage, "1")
            worker = int((Path("/proc") / str(process) / "stat").read_text().split()[3])
            os.kill(*[(worker, signal.SIGTERM), (process, signal.SIGKILL)][self.disturbed])
            self.disturbed, self.least = self.disturbed + 1, done + 4

    def finished(self, stage, seconds, failure) -> None:
        self.said.append(failure.reason if failure else "complete")


def process_of(stage: Stage, node: str) -> int:
    """The process that runs a stage on a node."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(stage.path).encode() in command and f"NODE_RANK={node}".encode() in variables:
            return int(folder.name)
    raise AssertionError("the training is not there")


def on_a_rank(rank: int, arguments: list[str]) -> int:
    return main(arguments)


def test_two_nodes_train_as_two_ranks_of_one_and_go_on_when_one_dies(tmp_path, launcher, rank_pair):
    config = fit_config(write_voc(tmp_path / "voc"))
    config["trainer"] |= {"strategy": "ddp", "max_epochs": 30}
    ranks = config | {"trainer": config["trainer"] | {"devices": 2}}
    expected = plan_stage(tmp_path / "one", "train", ranks)
    assert rank_pair.call(on_a_rank, expected.arguments) == [0, 0]

    stage = plan_stage(tmp_path / "two", "train", config | {"trainer": config["trainer"] | {"num_nodes": 2}})
    plan = SimpleNamespace(stages={stage.fingerprint: stage})
    reporter = Disturbing(stage)
    failures = Runner(plan, StageFolder(tmp_path / "two"), CLUSTER.machine, launcher, reporter).run()
    assert failures == []
    again = ["exit status 143; tried again", "killed by signal 9; tried again"]
    assert reporter.said == [*again, "complete"]
    log = (stage.path / LOG_FILE).read_text()
    assert "stopped by SIGTERM after step" in log
    assert "node 1 ended first (signal 9)" in log
    assert find_manifest(stage.path)["world_size"] == 2
    weights, reference = (
        torch.load(one.path / LAST, weights_only=True)["state_dict"] for one in (stage, expected)
    )
    assert weights.keys() == reference.keys()
    assert all(torch.equal(weights[name], reference[name]) for name in reference)
