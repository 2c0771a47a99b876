"""The stages that a bench shares with other benches: it holds the locks of those that it runs.

A stage that another process runs is waited for. It counts as complete or failed as it ends there, and is run
here if it was interrupted, or if the other process is no more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from wsss_bench.artifacts.files import is_complete, write_json
from wsss_bench.artifacts.holder import Holder
from wsss_bench.artifacts.layout import FAILURE_FILE, LOG_FILE, find_json
from wsss_bench.artifacts.locks import Locks
from wsss_bench.artifacts.stage_files import mend
from wsss_bench.bench.running import Failure, Reporter, tail
from wsss_bench.plan.plan import Stage


class SharedStages:
    """The stages of a bench.

    Args:
        locks: Those of the bench.
        stages: The stages that are not complete when it begins.
        reporter: Is told which stages other processes run.
    """

    def __init__(self, locks: Locks, stages: Iterable[Stage], reporter: Reporter) -> None:
        self._locks = locks
        self._reporter = reporter
        self._elsewhere: dict[str, tuple[Stage, Holder]] = {}
        self._failed_before = {stage.fingerprint: find_json(stage.path / FAILURE_FILE) for stage in stages}

    @property
    def name(self) -> str:
        """Of the locks, for the processes of the stages."""
        return self._locks.name

    @property
    def elsewhere(self) -> Sequence[tuple[Stage, Holder]]:
        """The stages that could run and that other processes run, with these."""
        return list(self._elsewhere.values())

    def is_elsewhere(self, stage: Stage) -> bool:
        """Whether another process runs a stage, at this moment."""
        holder = self._locks.holder_of(stage.path)
        if holder is None:
            self._elsewhere.pop(stage.fingerprint, None)
            return False
        if self._elsewhere.get(stage.fingerprint) != (stage, holder):
            self._elsewhere[stage.fingerprint] = (stage, holder)
            self._reporter.elsewhere(stage, holder)
        return True

    def take(self, stage: Stage) -> bool:
        """Take the lock of a stage that is to be started; returns whether no other process has it.

        Raises:
            OSError: the lock cannot be written.
        """
        return self._locks.take(stage.path) is None

    def release(self, *stages: Stage) -> None:
        """Give the locks of stages back."""
        for stage in stages:
            self._locks.release(stage.path)

    def have_lost(self, stages: Iterable[Stage]) -> bool:
        """Whether another process has taken over the lock of a stage that this bench runs."""
        return not all(self._locks.holds(stage.path) for stage in stages)

    def failed_elsewhere(self, stage: Stage) -> Failure | None:
        """How a stage has failed in another bench since this one began; None if it has not."""
        failure = find_json(stage.path / FAILURE_FILE)
        if is_complete(stage.path) or not failure or failure == self._failed_before.get(stage.fingerprint):
            return None
        reason = f"{failure.get('reason')}, in another bench ({failure.get('bench')})"
        return Failure(stage, reason, tail(stage.path / LOG_FILE))

    def record_failure(self, stage: Stage, reason: str) -> None:
        """Write down that a stage is not tried again, for the table and for benches that wait for it."""
        if stage.path.is_dir():
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            failure = {"reason": reason, "bench": str(self._locks.owner), "at": now}
            write_json(stage.path / FAILURE_FILE, failure)

    def mend(self, stage: Stage) -> None:
        """Reopen a damaged stage, unless another process does that."""
        if self.take(stage):
            mend(stage.path)
            self.release(stage)
