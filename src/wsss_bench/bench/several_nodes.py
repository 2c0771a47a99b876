"""A stage that runs on several nodes, as one job: it has one exit status, and its nodes end together."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from wsss_bench.bench.launchers import Running
from wsss_bench.bench.rendezvous import has_come
from wsss_bench.bench.running import tail

PATIENCE_SECONDS = 60.0
"""For the other nodes to end by themselves when the stage is complete on node 0."""


class OnNode(Running, Protocol):
    """What runs on one node.

    Attributes:
        log: Its log.
        ended: When it ended, by the clock that does not go backwards; infinite before.
    """

    log: Path
    ended: float


def log_of(log: Path, node: int) -> Path:
    """The log of a node. It begins with a dot, since other files of a stage are compared when it is read.

    Args:
        log: The log of the stage, which is that of node 0.
        node: Number of the node.
    """
    return log.with_name(f".{log.stem}-{node}{log.suffix}") if node else log


class _Outcome(NamedTuple):
    status: int
    at: float


class OnSeveralNodes(Running):
    """A job on several nodes.

    It has succeeded when it has on node 0, which alone writes the files of the stage. It has failed as the
    node that failed first; the others, which would wait for that one, are ended.

    Args:
        parts: What runs on each node, in their order.
        folder: The folder of the attempt (`rendezvous`).
    """

    def __init__(self, parts: Sequence[OnNode], folder: Path) -> None:
        self._parts = parts
        self._folder = folder
        self._over = folder.with_name(f"{folder.name}-over")
        self._outcome: _Outcome | None = None
        self._status: int | None = None

    @property
    def exit_status(self) -> int | None:
        """None until no node works in the stage any more."""
        if self._status is None:
            statuses = [part.exit_status for part in self._parts]
            self._outcome = self._outcome or self._outcome_of(statuses)
            if self._outcome is not None and self._all_ended(statuses, self._outcome):
                shutil.rmtree(self._over, ignore_errors=True)
                self._status = self._outcome.status
        return self._status

    @property
    def has_begun(self) -> bool:
        """Whether all nodes have left the queue."""
        return all(part.has_begun for part in self._parts)

    @property
    def gpus(self) -> tuple[str, ...]:
        """Unknown: the worker of a node that is told to end may not say which it had."""
        return ()

    def terminate(self) -> None:
        """Ask all nodes to end; they may write a checkpoint, so that the folder stays."""
        for part in self._parts:
            part.terminate()
        if self._status is None:
            self._status = -signal.SIGTERM

    def kill(self) -> None:
        """End all nodes, unless they have been asked to end; returns at once."""
        if self._status is None:
            self._outcome = self._outcome or _Outcome(-signal.SIGKILL, time.monotonic())
            self._end()

    def _outcome_of(self, statuses: Sequence[int | None]) -> _Outcome | None:
        failed = {node: status for node, status in enumerate(statuses) if status}
        if failed:
            first = min(failed, key=lambda node: self._parts[node].ended)
            self._note_failure(first, failed[first])
            return _Outcome(failed[first], time.monotonic())
        return _Outcome(0, time.monotonic()) if statuses[0] == 0 else None

    def _all_ended(self, statuses: Sequence[int | None], outcome: _Outcome) -> bool:
        """Whether nothing runs any more; ends what does. A node that has not come starts nothing any more."""
        if all(status is not None for status in statuses):
            self._end()
            return True
        if outcome.status == 0 and time.monotonic() < outcome.at + PATIENCE_SECONDS:
            return False
        self._end()
        return all(
            status is not None or not has_come(self._over, node) for node, status in enumerate(statuses)
        )

    def _end(self) -> None:
        with suppress(FileNotFoundError):  # it has been
            self._folder.rename(self._over)

    def _note_failure(self, node: int, status: int) -> None:
        """Put the end of the log of the node that failed first at the end of the log of the stage."""
        if node:
            log = self._parts[node].log
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            with suppress(OSError), open(self._parts[0].log, "a") as file:
                file.write(f"node {node} ended first ({how}); its log {log} ends with:\n{tail(log)}\n")
