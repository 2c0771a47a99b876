"""How the processes of a stage end together with the process that started them.

A killed process cannot stop its children: the ranks, loader workers and pool workers of a killed stage would
go on, keep a GPU, and write into a folder that the next attempt works in. So each of them asks the kernel,
with `PR_SET_PDEATHSIG`, to be killed when its parent ends. Other systems than Linux have no such request.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1
FIRST_RANK = "WSSS_FIRST_RANK"
"""Environment variable with the process id of rank 0, for the ranks that it starts."""

WORKERS_VARIABLE = "WSSS_WORKERS"
"""Environment variable with the share of the cores of each process; the bench sets it for its stages."""
MOST_LOADERS = 8
"""Loading processes of a rank, where the number is not given: more would wait for the GPU."""


def share_of_cores(processes: int = 1) -> int:
    """The number of cores that this process may keep busy: `WSSS_WORKERS` if it is set.

    Args:
        processes: Processes of this stage on this machine, that share all cores where it is not set.

    Raises:
        ValueError: `WSSS_WORKERS` is not a number.
    """
    given = os.environ.get(WORKERS_VARIABLE, "")
    if given and not given.isdigit():
        raise ValueError(f"{WORKERS_VARIABLE} is a number of processes, got {given!r}")
    return int(given) if given else max(1, len(os.sched_getaffinity(0)) // processes)


def end_with_parent(parent: int | None = None, number: int = signal.SIGKILL) -> None:
    """Make the kernel send this process a signal when the thread that started it ends.

    If the parent has ended already, this process ends here.

    Args:
        parent: Process id of the parent; needed if this process was not started with `multiprocessing`.
        number: The signal; by default that which kills.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    starter = multiprocessing.parent_process()
    orphaned = os.getppid() != parent if parent is not None else starter and not starter.is_alive()
    if orphaned:
        os._exit(1)


@contextmanager
def ranks_end_with_this_process() -> Iterator[None]:
    """Ranks that are started in the body end with this process; they call `end_with_first_rank`."""
    os.environ[FIRST_RANK] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[FIRST_RANK]


def end_with_first_rank() -> None:
    """In a rank that rank 0 started: end with rank 0. Does nothing in any other process."""
    first = os.environ.get(FIRST_RANK, str(os.getpid()))
    if int(first) != os.getpid():
        end_with_parent(int(first))
