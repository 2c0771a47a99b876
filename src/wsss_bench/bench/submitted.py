"""A stage that is submitted to the workers of a cluster, until it has ended there."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from wsss_bench.artifacts.files import is_complete
from wsss_bench.bench.cluster_stage import Ended
from wsss_bench.bench.launchers import Running

LOST = ("WorkerLost", "ManagerLost")
"""Errors of Parsl for a node or a worker that is gone: its walltime has ended, or it died."""
VISIBLE_SECONDS = 90.0
"""After which a file that a node has written is there for this machine too: NFS may remember for up to 60 s
that it was not."""
LOOK_SECONDS = 1.0
"""Between two looks at a file that a node writes."""
MOST_REFUSALS = 15
"""Workers that hold back from a stage, since it avoids their GPUs, before it takes any."""


class Submitted(Running):
    """A stage that a worker runs, or will run.

    Args:
        submit: Submits it, with the GPUs that it avoids.
        avoided: These GPUs.
        log: Its log.
        folder: Its folder.
        give_back: Gives the nodes of the bench back.
    """

    def __init__(
        self,
        submit: Callable[[Sequence[str]], Future[Ended]],
        avoided: Sequence[str],
        log: Path,
        folder: Path,
        give_back: Callable[[], None],
    ) -> None:
        self.log, self._folder, self._give_back = log, folder, give_back
        self._submit, self._avoided, self._refusals = submit, avoided, 0
        self._status: int | None = None
        self._gpus: tuple[str, ...] = ()
        self._length = _length(log)
        self._begun, self._next_look = False, 0.0
        self.ended = math.inf
        self._future = self._submitted(avoided)

    def _submitted(self, avoided: Sequence[str]) -> Future[Ended]:
        future = self._submit(avoided)
        future.add_done_callback(self._note_end)
        return future

    def _note_end(self, future: Future[Ended]) -> None:
        self.ended = time.monotonic()

    @property
    def exit_status(self) -> int | None:
        if self._status is None and self._future.done():
            error = self._future.exception()
            self._status = self._status_of(self._future.result()) if error is None else self._failed(error)
        return self._status

    @property
    def has_begun(self) -> bool:
        """Its worker has written to its log."""
        if not self._begun and self._may_look():
            self._begun = _length(self.log) > self._length
        return self._begun or self._status is not None

    @property
    def gpus(self) -> tuple[str, ...]:
        return self._gpus

    def _status_of(self, ended: Ended) -> int | None:
        """The exit status; None if it is submitted again, or its files are not visible here yet."""
        if ended.status is None:
            self._refusals += 1
            self._future = self._submitted(self._avoided if self._refusals < MOST_REFUSALS else ())
            return None
        self._gpus = ended.gpus
        if ended.status == 0 and time.monotonic() < self.ended + VISIBLE_SECONDS and not self._is_visible():
            return None
        return ended.status

    def _is_visible(self) -> bool:
        """Whether this machine sees that the stage is complete, as it is on its node."""
        if is_complete(self._folder):
            return True
        if self._may_look():
            with suppress(OSError):
                os.utime(self._folder)  # an NFS client that changes a folder looks at its files anew
        return False

    def _may_look(self) -> bool:
        """Whether it is time for another look at the file system."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        return True

    def _failed(self, error: BaseException) -> int:
        """Say in the log of the stage what Parsl says; a lost node counts as a signal."""
        kind = type(error).__name__
        with open(self.log, "a") as log:
            log.write(f"the cluster ended this stage: {kind}: {error}\n")
        return -signal.SIGKILL if kind in LOST else 1

    def terminate(self) -> None:
        """Give the nodes back. The queue sends their stages SIGTERM, and leaves trainings some seconds."""
        if self.exit_status is None:
            self._status = -signal.SIGTERM
        self._give_back()

    def kill(self) -> None:
        """Nothing: the nodes are given back."""


def _length(log: Path) -> int:
    """Bytes of a log; 0 if it is not there."""
    try:
        return log.stat().st_size
    except OSError:
        return 0
