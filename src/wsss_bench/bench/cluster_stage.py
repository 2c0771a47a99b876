"""What a worker on a node of a cluster runs: one stage, as a process of its own. Imports nothing large."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

from wsss_bench.processes import end_with_parent


def run_stage(
    arguments: Sequence[str], log: str, folder: str, variables: Mapping[str, str], on_gpus: bool
) -> int:
    """Run `wsss-bench` with these arguments, and wait for it.

    Args:
        arguments: Of `wsss-bench`.
        log: The file that its output is added to.
        folder: The working directory of the bench, on a file system that the node shares.
        variables: Environment variables in addition to those of the worker. The worker has set
            `CUDA_VISIBLE_DEVICES` to the GPUs of the stage.
        on_gpus: Whether the stage has GPUs; others see none.

    Returns:
        Its exit status; negative if a signal ended it.
    """
    command = [sys.executable, "-m", "wsss_bench", *arguments]
    environment = {**os.environ, **variables}
    if not on_gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    # what a batch script exports says nothing about this stage: Lightning would wait for ranks of srun
    for name in [
        name for name in environment if name.startswith(("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"))
    ]:
        del environment[name]
    environment["SLURM_JOB_NAME"] = "interactive"
    with open(log, "ab") as file:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        file.write(f"=== {now} {os.uname().nodename} {shlex.join(command)}\n".encode())
        file.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=folder,
            env=environment,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, os.getpid()),
        )
        return process.wait()
