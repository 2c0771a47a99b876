"""The lock of a folder of runs: one bench at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(runs: Path) -> Iterator[None]:
    """Hold `runs/.lock` while a bench works in the folder.

    Raises:
        ValueError: another bench holds it.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with open(runs / ".lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise ValueError(
                f"another bench (process {holder}) works in {runs}; "
                "wait for it, stop it, or use another folder with --runs"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
