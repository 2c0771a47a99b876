"""Starts planned stages as processes.

Importing torch, lightning and timm takes about ten seconds, longer than many small stages run.
`LocalLauncher` therefore forks stages that use one device from a `multiprocessing` forkserver that has
imported these packages (`wsss_bench.bench.preload`). A forked stage is a process with its own log, memory and
exit status, and takes the same arguments as the command line. A stage that uses several devices is started as
a command line, because Lightning starts the other ranks by executing it again.

Stages end with the bench: the kernel kills a stage, and its child processes, when the parent process is gone
(`wsss_bench.processes`).
"""

from __future__ import annotations

import atexit
import contextlib
import math
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any, Protocol

from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.artifacts.locks import BENCH_VARIABLE
from wsss_bench.bench.rank_variables import without_ranks
from wsss_bench.bench.signals import SIGNALS, in_a_hurry
from wsss_bench.processes import end_with_parent

PRELOAD = "wsss_bench.bench.preload"
WAIT_SECONDS = 0.05
ENVIRONMENT = {
    # one stage per core: with two threads each they would slow each other down
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # glibc keeps freed memory (the first takes no more than 2^25). Else it gives large tensors back to the
    # system and asks for them again at each step, up to a seventh of a training on the CPU.
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}
"""Environment variables of every stage, unless the user has set them."""


@dataclass(frozen=True)
class Job:
    """A process to start.

    Args:
        arguments: Arguments of `wsss-bench`.
        folder: Folder of its `log.txt`.
        gpus: GPUs that it may see, on all nodes; None leaves `CUDA_VISIBLE_DEVICES` as it is.
        ranks: Whether it uses several devices and starts a process for each.
        nodes: Number of nodes that it runs on at the same time.
        workers: Its share of the cores, for process pools that it may start.
        locks: Name of the locks of the bench (`Locks.name`), which it works under.
        avoided: GPUs that it should not get, where the launcher chooses them (`Running.gpus`).
    """

    arguments: Sequence[str]
    folder: Path
    gpus: Sequence[str] | None = None
    ranks: bool = False
    nodes: int = 1
    workers: int = 1
    locks: str = ""
    avoided: Sequence[str] = ()


class Running(Protocol):
    """A started job."""

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative if a signal ended it."""

    @property
    def has_begun(self) -> bool:
        """False while it waits in a queue."""
        return True

    @property
    def gpus(self) -> tuple[str, ...] | None:
        """The GPUs that it had, as far as they are known once it has ended; None for those of its job."""
        return None

    def terminate(self) -> None:
        """Ask it and its child processes to end (SIGTERM); returns at once."""

    def kill(self) -> None:
        """End it and its child processes (SIGKILL), and wait until it is gone."""


class Launcher(Protocol):
    """Starts jobs; the interface that the runner uses."""

    def warm_up(self) -> None:
        """Start to prepare fast starts of jobs; returns at once."""

    def start(self, job: Job) -> Running:
        """Start a job and return without waiting for it."""

    def close(self) -> None:
        """Give back what was prepared; no job runs any more."""


def stop_all(patience: Mapping[Running, float]) -> None:
    """End all jobs together: with SIGTERM, and with SIGKILL those that are left after their patience.

    Args:
        patience: Seconds that each job has; none after a second Ctrl-C.
    """
    for job in patience:
        job.terminate()
    start, left = time.monotonic(), dict(patience)
    while left:
        seconds = math.inf if in_a_hurry() else time.monotonic() - start
        for job, given in list(left.items()):
            if job.exit_status is not None or seconds >= given:
                job.kill()
                del left[job]
        if left:
            time.sleep(0.01)


def run_command(arguments: list[str]) -> int:
    """Run `wsss-bench <arguments>` in this process."""
    from wsss_bench.cli import main

    return main(arguments)


class LocalLauncher:
    """Starts stages as processes on this machine.

    Args:
        target: Called with the arguments in a forked process; its result is the exit status. It must be
            importable by name.
        preload: Modules that the forkserver imports.
    """

    def __init__(
        self, target: Callable[[list[str]], int] = run_command, preload: Sequence[str] = (PRELOAD,)
    ) -> None:
        # before the forkserver starts: packages read some of them when it imports them
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._target = target
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))

    def warm_up(self) -> None:
        """Start the forkserver, which then imports in the background.

        It has no use for the signals that stop a bench: a batch system sends them to all processes of a job,
        and without the forkserver the stages that are writing their checkpoints would end at once.
        """
        resource_tracker.ensure_running()  # else the forkserver starts it, which ends the blocking
        earlier = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, earlier)

    def close(self) -> None:
        """Nothing: the forkserver ends with the bench."""

    def start(self, job: Job) -> Running:
        """Fork a job, or run its command line if it has several ranks."""
        job.folder.mkdir(parents=True, exist_ok=True)
        return self._start_command_line(job) if job.ranks else self._fork(job)

    def _fork(self, job: Job) -> Running:
        environment = environment_of(job)
        process = self._context.Process(
            target=_run_job, args=(self._target, job, environment, time.monotonic())
        )
        self.warm_up()
        process.start()
        return _Forked(process)

    def _start_command_line(self, job: Job) -> Running:
        command = [sys.executable, "-m", "wsss_bench", *job.arguments]
        environment = environment_of(job)
        return _CommandLine(start_command_line(command, job.folder / LOG_FILE, environment))


def start_command_line(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    folder: Path | None = None,
    place: str = "",
) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, and whose output is added to a log.

    Args:
        command: The command line.
        log: Its file.
        environment: Of the process.
        folder: Its working directory; None for that of this process.
        place: Where it runs, for the first line in the log.
    """
    with open(log, "ab") as file:
        file.write(f"=== {' '.join(filter(None, (_now(), place, shlex.join(command))))}\n".encode())
        file.flush()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=folder,
            env=environment,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, os.getpid()),
        )


class _Forked(Running):
    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self._process = process

    @property
    def exit_status(self) -> int | None:
        status = self._process.exitcode
        if status is not None:
            # child processes that a killed stage left behind
            signal_group(self._process.pid, signal.SIGKILL)
        return status

    def terminate(self) -> None:
        signal_group(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        signal_group(self._process.pid, signal.SIGKILL)
        if self._process.is_alive():  # it had not made its process group yet
            self._process.kill()
        self._process.join(5)


class _CommandLine(Running):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def exit_status(self) -> int | None:
        status = self._process.poll()
        if status is not None:
            signal_group(self._process.pid, signal.SIGKILL)
        return status

    def terminate(self) -> None:
        signal_group(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()


def signal_group(group: int | None, number: int) -> None:
    """Send a signal to the processes of a group, if there are any left."""
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def environment_of(job: Job) -> dict[str, str]:
    """The environment of a stage: that of the bench, with what is its own."""
    gpus = {} if job.gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(job.gpus)}
    # the output of a stage goes to a file, that of the bench to a terminal
    own = {
        "WSSS_TRACEBACK": "1",
        "WSSS_WORKERS": str(job.workers),
        "NO_COLOR": "1",
        BENCH_VARIABLE: job.locks,
    }
    return {**without_ranks(os.environ), **own, **gpus}


def _run_job(
    target: Callable[[list[str]], int], job: Job, environment: dict[str, str], asked_at: float
) -> None:
    """Body of a forked stage: set the process up like one of the command line, then run `target`."""
    os.setpgid(0, 0)
    # exit handlers of preloaded packages belong to the forkserver: here they would delete folders that other
    # stages use
    atexit._clear()
    _let_forkserver_go()
    end_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # blocked in the forkserver
    # the forkserver has the variables of the time when it was started
    os.environ.clear()
    os.environ.update(environment)
    command = ["wsss-bench", *job.arguments]
    with open(job.folder / LOG_FILE, "ab") as log:
        log.write(
            f"=== {_now()} {shlex.join(command)} (started in {time.monotonic() - asked_at:.2f} s)\n".encode()
        )
        log.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = command
    status = target(list(job.arguments))
    atexit._run_exitfuncs()  # multiprocessing ends a child without them; loggers flush their files there
    sys.exit(status)


def _let_forkserver_go() -> None:
    """Close the pipe by which a forked process keeps the forkserver alive: only the bench shall hold it."""
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def run_to_end(launcher: Launcher, job: Job) -> int:
    """Start a job and wait for it; returns its exit status. Ctrl-C ends it, too."""
    running = launcher.start(job)
    try:
        while (status := running.exit_status) is None:
            time.sleep(WAIT_SECONDS)
    except KeyboardInterrupt:
        running.kill()
        raise
    return status
