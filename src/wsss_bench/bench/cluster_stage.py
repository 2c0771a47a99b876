"""What a worker on a node of a cluster runs: one stage, as a process of its own. Imports nothing large."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from wsss_bench.bench.launchers import ENVIRONMENT, signal_group, start_command_line
from wsss_bench.bench.rank_variables import without_ranks
from wsss_bench.bench.rendezvous import POLL_SECONDS, NotMet, Part
from wsss_bench.processes import end_with_parent

NODE_GPUS = "WSSS_NODE_GPUS"
"""Environment variable of a worker with the GPUs of its node, before it got its own."""
HOLD_SECONDS = 20.0
"""For which a worker keeps a stage that its GPUs are not for, so that another worker gets the next one."""


class Ended(NamedTuple):
    """How a stage ended.

    Args:
        status: Its exit status; None if it did not run, since the worker has GPUs that it avoids.
        gpus: The GPUs of the worker, as `<host>:<GPU>`.
    """

    status: int | None
    gpus: tuple[str, ...]


def run_on_own_gpus(
    avoided: Sequence[str],
    arguments: Sequence[str],
    log: str,
    folder: str,
    variables: Mapping[str, str],
    on_gpus: bool,
    part: Part | None = None,
) -> Ended:
    """Run a stage on the GPUs of this worker, unless it avoids one of them; see `run_stage`.

    Parsl gives workers the numbers 0, 1, ...; what they count are the GPUs that the node shows to its job.

    If the manager of this worker is killed, Parsl counts the stage as lost, and it is tried again elsewhere.
    So this worker hears of that, and passes SIGTERM on to the stage, which may write its checkpoint.

    Raises:
        ValueError: the node shows fewer GPUs than the file of the cluster says.
    """
    end_with_parent(os.getppid(), signal.SIGTERM)
    if not on_gpus:
        return Ended(run_stage(arguments, log, folder, variables, on_gpus, part), ())
    numbers, shown = _listed("CUDA_VISIBLE_DEVICES"), _listed(NODE_GPUS)
    if shown and max(map(int, numbers)) >= len(shown):
        raise ValueError(
            f"this worker has the GPUs {', '.join(numbers)} of its node, which shows {len(shown)} "
            f"({', '.join(shown)}); in the file of the cluster stages_per_node x gpus_per_stage is too high, "
            "or the options ask the queue for too few GPUs"
        )
    own = [shown[int(number)] for number in numbers] if shown else numbers
    gpus = tuple(f"{os.uname().nodename}:{gpu}" for gpu in own)
    if not set(gpus).isdisjoint(avoided):
        time.sleep(HOLD_SECONDS)
        return Ended(None, gpus)
    own_gpus = {"CUDA_VISIBLE_DEVICES": ",".join(own)}
    return Ended(run_stage(arguments, log, folder, {**variables, **own_gpus}, on_gpus, part), gpus)


def _listed(variable: str) -> list[str]:
    """The comma-separated entries of an environment variable."""
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def run_stage(
    arguments: Sequence[str],
    log: str,
    folder: str,
    variables: Mapping[str, str],
    on_gpus: bool,
    part: Part | None = None,
) -> int:
    """Run `wsss-bench` with these arguments, and wait for it.

    Args:
        arguments: Of `wsss-bench`.
        log: The file that its output is added to.
        folder: The working directory of the bench, on a file system that the node shares.
        variables: Environment variables in addition to those of the worker, which win over the usual ones of
            stages. The worker has set `CUDA_VISIBLE_DEVICES` to the GPUs of the stage.
        on_gpus: Whether the stage has GPUs; others see none.
        part: What this node does of a stage on several nodes.

    Returns:
        Its exit status; negative if a signal ended it.
    """
    command = [sys.executable, "-m", "wsss_bench", *arguments]
    environment = without_ranks({**ENVIRONMENT, **os.environ, **variables})
    if not on_gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    host = os.uname().nodename
    with PassedOn() as signals:
        if part is not None:
            try:
                environment |= part.meet(lambda: signals.arrived)
            except NotMet as reason:
                with open(log, "a") as file:
                    file.write(f"{host}: {reason}\n")
                return reason.status
        process = signals.process = start_command_line(command, Path(log), environment, Path(folder), host)
        signals.pass_on()
        return process.wait() if part is None else _wait(process, part)


def _wait(process: subprocess.Popen[bytes], part: Part) -> int:
    """Wait for the processes of a node, and kill them when the attempt of all nodes is over."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(POLL_SECONDS)
        if part.is_over:
            signal_group(process.pid, signal.SIGKILL)


class PassedOn:
    """Passes the signals of a batch system on to a stage, and outlives them in the body.

    The stage is killed when this process ends, and a training needs a moment to write its checkpoint.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._arrived: list[int] = []

    def __enter__(self) -> PassedOn:
        numbers = (signal.SIGTERM, signal.SIGUSR1)
        self._earlier = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    @property
    def arrived(self) -> bool:
        """Whether there are signals that the stage has not got yet."""
        return bool(self._arrived)

    def pass_on(self) -> None:
        """Pass on what has arrived, perhaps before the process was started."""
        while self.process is not None and self._arrived:
            self.process.send_signal(self._arrived.pop())

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._arrived.append(number)
        self.pass_on()
