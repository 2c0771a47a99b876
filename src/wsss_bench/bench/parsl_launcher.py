"""Starts stages on the nodes of a cluster, through the pilot jobs of Parsl (https://parsl-project.org).

Parsl asks the queue for nodes, keeps workers on them, and gives each worker its own GPUs. Which stage runs
when is decided by the runner, as on one machine, from the stage folders on the shared file system: they are
the only truth, so that a bench goes on wherever it stopped, with any launcher.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.artifacts.locks import BENCH_VARIABLE
from wsss_bench.bench.cluster import Cluster, Nodes
from wsss_bench.bench.cluster_stage import run_stage
from wsss_bench.bench.launchers import Job, Running
from wsss_bench.bench.rendezvous import Part
from wsss_bench.bench.several_nodes import OnSeveralNodes, log_of
from wsss_bench.processes import WORKERS_VARIABLE

LOST = ("WorkerLost", "ManagerLost")
"""Errors of Parsl for a node or a worker that is gone: its walltime has ended, or it died."""


class ParslLauncher:
    """Starts stages through Parsl.

    Args:
        cluster: The nodes.
        folder: Where Parsl writes its logs and job scripts.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._kernel: Any = None
        self._apps: dict[str, Any] = {}
        # numbered folders of Parsl would be made by two benches at a time
        self._own = folder.absolute() / f"{socket.gethostname()}-{os.getpid()}"

    def warm_up(self) -> None:
        """Ask for the nodes; returns at once."""
        from parsl.app.app import python_app
        from parsl.config import Config
        from parsl.dataflow.dflow import DataFlowKernel

        executors = [executor_of(nodes, self._cluster) for nodes in self._cluster.executors]
        self._kernel = DataFlowKernel(
            Config(
                executors=executors,
                run_dir=str(self._own),
                retries=0,  # the runner decides what is tried again
                strategy="simple",
                initialize_logging=False,
            )
        )
        for nodes in self._cluster.executors:
            wrap = python_app(data_flow_kernel=self._kernel, executors=[nodes.name], cache=False)
            self._apps[nodes.name] = wrap(run_stage)

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

    def _submit(self, job: Job, nodes: Nodes, gpus: int, part: Part | None = None) -> _Submitted:
        log = log_of((job.folder / LOG_FILE).absolute(), part.node if part is not None else 0)
        variables = {
            "WSSS_TRACEBACK": "1",
            "NO_COLOR": "1",
            WORKERS_VARIABLE: str(nodes.cores_per_stage),
            BENCH_VARIABLE: job.locks,
            **{name: os.environ[name] for name in os.environ if name.startswith(("WSSS_DATA", "WANDB_"))},
        }
        future = self._apps[nodes.name](list(job.arguments), str(log), os.getcwd(), variables, gpus > 0, part)
        return _Submitted(future, log, self)

    def close(self) -> None:
        """Give the nodes back; what still runs on them ends."""
        if self._kernel is not None:
            kernel, self._kernel = self._kernel, None
            kernel.cleanup()


class _Submitted:
    def __init__(self, future: Future[int], log: Path, launcher: ParslLauncher) -> None:
        self._future, self.log, self._launcher = future, log, launcher
        self._status: int | None = None
        self.ended = math.inf
        future.add_done_callback(self._note_end)

    def _note_end(self, future: Future[int]) -> None:
        self.ended = time.monotonic()

    @property
    def exit_status(self) -> int | None:
        if self._status is None and self._future.done():
            error = self._future.exception()
            self._status = self._future.result() if error is None else self._failed(error)
        return self._status

    def _failed(self, error: BaseException) -> int:
        """Say in the log of the stage what Parsl says; a lost node counts as a signal."""
        kind = type(error).__name__
        with open(self.log, "a") as log:
            log.write(f"the cluster ended this stage: {kind}: {error}\n")
        return -signal.SIGKILL if kind in LOST else 1

    def terminate(self) -> None:
        """Give the nodes back. The queue sends their stages SIGTERM, and leaves trainings some seconds."""
        self._launcher.close()
        if self._status is None and not self._future.done():
            self._status = -signal.SIGTERM

    def kill(self) -> None:
        """Nothing: the nodes are given back."""


def executor_of(nodes: Nodes, cluster: Cluster) -> Any:
    """The executor of Parsl for some nodes."""
    from parsl import launchers, providers
    from parsl.executors import HighThroughputExecutor
    from parsl.executors.high_throughput.executor import DEFAULT_INTERCHANGE_LAUNCH_CMD, DEFAULT_LAUNCH_CMD

    # by their paths, so that the environment of the bench need not be on the path of bench or nodes
    programs = Path(sys.executable).parent
    one_node = nodes.provider == "LocalProvider" or nodes.nodes == 1
    spread = "SimpleLauncher" if one_node else "SrunLauncher"
    provider = getattr(providers, nodes.provider)(
        nodes_per_block=nodes.nodes,
        init_blocks=1,
        min_blocks=0,
        max_blocks=nodes.most_jobs,
        launcher=getattr(launchers, spread)(),
        **nodes.options,
    )
    count = nodes.stages_per_node * nodes.gpus_per_stage
    gpus = [
        ",".join(str(first + number) for number in range(nodes.gpus_per_stage))
        for first in range(0, count, max(1, nodes.gpus_per_stage))
    ]
    return HighThroughputExecutor(
        label=nodes.name,
        address=cluster.own_address,
        provider=provider,
        max_workers_per_node=nodes.stages_per_node,
        cores_per_worker=1e-3,  # the number of workers is given
        available_accelerators=gpus,
        launch_cmd=f"{sys.executable} {programs / DEFAULT_LAUNCH_CMD}",
        interchange_launch_cmd=[
            sys.executable,
            *(str(programs / one) for one in DEFAULT_INTERCHANGE_LAUNCH_CMD),
        ],
        encrypted=False,
        heartbeat_period=15,
        heartbeat_threshold=60,
    )
