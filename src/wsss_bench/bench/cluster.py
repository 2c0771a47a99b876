"""`configs/clusters/<name>.yaml`: the nodes of a cluster that run stages, and how they are asked for."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from wsss_bench.bench.providers import check_provider
from wsss_bench.bench.resources import Machine, gpus_of, nodes_of
from wsss_bench.plan.plan import Stage
from wsss_bench.plan.schema import read_as
from wsss_bench.plan.yaml_files import read_yaml
from wsss_bench.ranges import check_range


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind, as one executor of Parsl.

    A job of the queue holds `nodes` nodes for its whole walltime and runs one stage after the other on them,
    so that a short stage does not wait in the queue.

    Args:
        name: For messages.
        stages: `gpu`: the stages that ask for GPUs; `cores`: all others.
        provider: A provider of Parsl, by name: `SlurmProvider`, `PBSProProvider`, `LSFProvider`,
            `KubernetesProvider`, `LocalProvider`, ...
        stages_per_node: Stages at a time on a node.
        cores_per_stage: Cores of each of them, for loading data and for process pools.
        gpus_per_stage: GPUs of each of them. A stage goes to the nodes whose stages have as many as it asks
            for on each of its nodes.
        nodes: Nodes of a job of the queue.
        most_jobs: Jobs of the queue at a time.
        options: Further arguments of the provider: `account`, `partition`, `walltime`, `worker_init`, ...
    """

    name: str
    stages: Literal["gpu", "cores"]
    provider: str
    stages_per_node: int = 1
    cores_per_stage: int = 1
    gpus_per_stage: int = 0
    nodes: int = 1
    most_jobs: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("stages_per_node", "cores_per_stage", "nodes", "most_jobs"):
            check_range(name, getattr(self, name), 1)
        if (self.stages == "gpu") != (self.gpus_per_stage > 0):
            raise ValueError(
                f"gpus_per_stage is {self.gpus_per_stage} for {self.stages!r} stages; expected 1 or more for "
                "'gpu', and 0 for 'cores'"
            )

    @property
    def stages_at_a_time(self) -> int:
        """On all of these nodes."""
        return self.stages_per_node * self.in_all

    @property
    def in_all(self) -> int:
        """Number of nodes of all jobs."""
        return self.nodes * self.most_jobs

    @property
    def gpus(self) -> tuple[str, ...]:
        """Names for the GPUs of all of these nodes."""
        return tuple(f"{self.name}-{number}" for number in range(self.stages_at_a_time * self.gpus_per_stage))


@dataclass(frozen=True)
class Cluster:
    """A cluster.

    Args:
        executors: Its nodes; at least those for stages on cores.
        address: Name or address under which the nodes reach the machine that the bench runs on; null for the
            name of the machine.
    """

    executors: list[Nodes]
    address: str | None = None

    def __post_init__(self) -> None:
        if not any(nodes.stages == "cores" for nodes in self.executors):
            raise ValueError("executors: none of them is for 'cores' stages, such as scoring; add one")
        names = [nodes.name for nodes in self.executors]
        if len(set(names)) < len(names):
            raise ValueError(f"executors: names occur twice: {', '.join(names)}")
        alike: dict[tuple[int, int], str] = {}
        for nodes in self.executors:
            # stages on cores need one node each
            kind = (nodes.gpus_per_stage, nodes.nodes if nodes.gpus_per_stage else 1)
            first = alike.setdefault(kind, nodes.name)
            if first != nodes.name:
                same = f"gpus_per_stage: {kind[0]} and nodes: {kind[1]}" if kind[0] else "stages: cores"
                raise ValueError(
                    f"executors: {first} and {nodes.name} both have {same}, so that no stage would go to the "
                    "second one; make one of them, with more most_jobs or stages_per_node"
                )

    def nodes_for(self, gpus: int, count: int = 1) -> Nodes | None:
        """The nodes of stages with a number of GPUs on each of a number of nodes; None if there are none.

        Those first whose jobs have as many nodes, since the queue gives these at the same time.
        """
        fitting = [
            nodes for nodes in self.executors if nodes.gpus_per_stage == gpus and nodes.in_all >= count
        ]
        return next((nodes for nodes in fitting if nodes.nodes == count), fitting[0] if fitting else None)

    @property
    def machine(self) -> Machine:
        """How many stages run at a time, and on how many GPUs."""
        on_cores = sum(nodes.stages_at_a_time for nodes in self.executors if nodes.stages == "cores")
        gpus = [name for nodes in self.executors for name in nodes.gpus]
        return Machine(on_cores, tuple(gpus), most_on_gpus=max(1, len(gpus)), kinds=self._gpus_for)

    def _gpus_for(self, gpus: int, count: int) -> tuple[str, ...]:
        nodes = self.nodes_for(gpus, count)
        return nodes.gpus if nodes is not None else ()

    @property
    def own_address(self) -> str:
        """What the nodes connect to."""
        return self.address or socket.gethostname()


def read_cluster(file: Path) -> Cluster:
    """Read a file of `configs/clusters`, and check it against the providers that are installed.

    Raises:
        ConfigError: a wrong key, no such provider, or an argument that it does not have.
    """
    cluster = read_as(Cluster, read_yaml(file), file)
    for position, nodes in enumerate(cluster.executors):
        check_provider(nodes, f"{file}: executors[{position}]")
    return cluster


def check_nodes(cluster: Cluster | None, stages: Sequence[Stage]) -> None:
    """Check that there are nodes for every stage.

    Args:
        cluster: The nodes; None for this machine.
        stages: The stages that will run.

    Raises:
        ValueError: a stage asks for a number of GPUs that no nodes have for a stage, or for too many nodes.
    """
    for stage in stages:
        count = nodes_of(stage)
        if cluster is None:
            if count > 1:
                raise ValueError(
                    f"{stage.name} asks for {count} nodes (trainer.num_nodes), and this machine is one; run "
                    "the bench with --launcher parsl --cluster FILE, or set trainer.num_nodes: 1 in the "
                    "trainer of the experiment"
                )
            continue
        wanted = gpus_of(stage, len(cluster.machine.gpus))  # as the runner counts `devices: auto`
        if cluster.nodes_for(wanted) is None:
            have = ", ".join(f"{nodes.name} {nodes.gpus_per_stage}" for nodes in cluster.executors)
            raise ValueError(
                f"{stage.name} asks for {wanted} GPU(s){' of each node' * (count > 1)}; the executors of the "
                f"cluster have for each stage: {have}. Add one with gpus_per_stage: {wanted}, or change the "
                "trainer of the experiment"
            )
        if cluster.nodes_for(wanted, count) is None:
            have = ", ".join(
                f"{nodes.name} {nodes.in_all} (nodes {nodes.nodes} x most_jobs {nodes.most_jobs})"
                for nodes in cluster.executors
                if nodes.gpus_per_stage == wanted
            )
            raise ValueError(
                f"{stage.name} asks for {count} nodes with {wanted} GPU(s) each (trainer.num_nodes); the "
                f"executors for such stages have: {have}. Set nodes: {count} there, or lower "
                "trainer.num_nodes"
            )
