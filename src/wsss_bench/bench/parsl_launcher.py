"""Starts stages on the nodes of a cluster, through the pilot jobs of Parsl (https://parsl-project.org).

Parsl asks the queue for nodes, keeps workers on them, and gives each worker its own GPUs. Which stage runs
when is decided by the runner, as on one machine, from the stage folders on the shared file system: they are
the only truth, so that a bench goes on wherever it stopped, with any launcher.
"""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.artifacts.locks import BENCH_VARIABLE
from wsss_bench.bench.cluster import Cluster, Nodes
from wsss_bench.bench.cluster_stage import Ended, run_on_own_gpus
from wsss_bench.bench.launchers import Job, Running
from wsss_bench.bench.providers import provider_of
from wsss_bench.bench.rendezvous import Part
from wsss_bench.bench.several_nodes import OnSeveralNodes, log_of
from wsss_bench.bench.submitted import Submitted
from wsss_bench.processes import WORKERS_VARIABLE

HEARTBEAT_SECONDS = 15
"""Between two signs of life of a pilot; without four of them it is lost."""
IDLE_SECONDS = 120.0
"""For which a job of the queue is kept without work, by default."""
FAILED_JOBS = 3
"""Jobs of the queue that fail in a row, without a worker of theirs, before stages fail: it refuses them."""


class ParslLauncher:
    """Starts stages through Parsl.

    Args:
        cluster: The nodes.
        folder: Where Parsl writes its logs and job scripts.
        idle_seconds: For which a job of the queue is kept without work.
    """

    def __init__(self, cluster: Cluster, folder: Path, idle_seconds: float = IDLE_SECONDS) -> None:
        self._cluster = cluster
        self._idle_seconds = idle_seconds
        self._kernel: Any = None
        self._apps: dict[str, Any] = {}
        # numbered folders of Parsl would be made by two benches at a time
        self._own = folder.absolute() / f"{socket.gethostname()}-{os.getpid()}"

    def warm_up(self) -> None:
        """Start Parsl, which asks for nodes when stages come; returns at once."""
        from parsl.app.app import python_app
        from parsl.config import Config
        from parsl.dataflow.dflow import DataFlowKernel

        executors = [executor_of(nodes, self._cluster) for nodes in self._cluster.executors]
        self._kernel = DataFlowKernel(
            Config(
                executors=executors,
                run_dir=str(self._own),
                retries=0,  # the runner decides what is tried again
                strategy="htex_auto_scale",  # gives back single jobs without work
                max_idletime=self._idle_seconds,
                initialize_logging=False,
            )
        )
        for nodes in self._cluster.executors:
            wrap = python_app(data_flow_kernel=self._kernel, executors=[nodes.name], cache=False)
            self._apps[nodes.name] = wrap(run_on_own_gpus)

    def start(self, job: Job) -> Running:
        """Give a job to the workers of its nodes (`cluster.check_nodes` has found that there are some).

        The workers take jobs in the order in which they come. So of several jobs on several nodes the first
        one gets all its nodes, and no two wait for each other.
        """
        gpus = len(job.gpus or ()) // job.nodes
        nodes = self._cluster.nodes_for(gpus, job.nodes)
        assert nodes is not None
        job.folder.mkdir(parents=True, exist_ok=True)
        if job.nodes == 1:
            return self._submit(job, nodes, gpus)
        folder = self._own / f"attempt-{secrets.token_hex(8)}"
        folder.mkdir(parents=True)
        parts = [Part(folder, node, job.nodes, self._cluster.own_address) for node in range(job.nodes)]
        return OnSeveralNodes([self._submit(job, nodes, gpus, part) for part in parts], folder)

    def _submit(self, job: Job, nodes: Nodes, gpus: int, part: Part | None = None) -> Submitted:
        log = log_of((job.folder / LOG_FILE).absolute(), part.node if part is not None else 0)
        variables = {
            "WSSS_TRACEBACK": "1",
            "NO_COLOR": "1",
            WORKERS_VARIABLE: str(nodes.cores_per_stage),
            BENCH_VARIABLE: job.locks,
            **{name: os.environ[name] for name in os.environ if name.startswith(("WSSS_DATA", "WANDB_"))},
        }

        def submit(avoided: Sequence[str]) -> Future[Ended]:
            run = self._apps[nodes.name]
            future: Future[Ended] = run(
                list(avoided), list(job.arguments), str(log), os.getcwd(), variables, gpus > 0, part
            )
            return future

        # several nodes meet at a time, so that none of them holds back
        avoided = () if part is not None else tuple(job.avoided)
        return Submitted(submit, avoided, log, job.folder, self.close)

    def close(self) -> None:
        """Give the nodes back; what still runs on them ends."""
        if self._kernel is not None:
            kernel, self._kernel = self._kernel, None
            kernel.cleanup()


def fail_if_refused(executor: Any, jobs: Mapping[str, Any]) -> None:
    """Fail the stages of an executor whose last jobs have all failed before a worker came from them.

    Parsl's default gives an executor up when its first job fails, also because a node was lost.

    Args:
        executor: The executor of Parsl.
        jobs: What the queue says about its jobs, by number.
    """
    from parsl.jobs.error_handlers import windowed_error_handler

    last = sorted(jobs, key=int)[-FAILED_JOBS:]
    if not set(last).isdisjoint(executor.connected_blocks()):
        return
    windowed_error_handler(executor, dict(jobs), FAILED_JOBS)


def executor_of(nodes: Nodes, cluster: Cluster) -> Any:
    """The executor of Parsl for some nodes."""
    from parsl.executors import HighThroughputExecutor
    from parsl.executors.high_throughput.executor import DEFAULT_INTERCHANGE_LAUNCH_CMD, DEFAULT_LAUNCH_CMD

    # by their paths, so that the environment of the bench need not be on the path of bench or nodes
    programs = Path(sys.executable).parent
    count = nodes.stages_per_node * nodes.gpus_per_stage
    gpus = [
        ",".join(str(first + number) for number in range(nodes.gpus_per_stage))
        for first in range(0, count, max(1, nodes.gpus_per_stage))
    ]
    return HighThroughputExecutor(
        label=nodes.name,
        address=cluster.own_address,
        provider=provider_of(nodes),
        block_error_handler=fail_if_refused,
        max_workers_per_node=nodes.stages_per_node,
        cores_per_worker=1e-3,  # the number of workers is given
        available_accelerators=gpus,
        launch_cmd=f"{shlex.quote(sys.executable)} {shlex.quote(str(programs))}/{DEFAULT_LAUNCH_CMD}",
        interchange_launch_cmd=[
            sys.executable,
            *(str(programs / one) for one in DEFAULT_INTERCHANGE_LAUNCH_CMD),
        ],
        encrypted=False,
        heartbeat_period=HEARTBEAT_SECONDS,
        heartbeat_threshold=4 * HEARTBEAT_SECONDS,
    )
