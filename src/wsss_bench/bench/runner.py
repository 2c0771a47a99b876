"""Runs the missing stages of a plan on cores and GPUs, and continues after a failure."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

from wsss_bench.artifacts.disk import WatchedFolder, full_disk, full_disk_in_log
from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.holder import BENCH
from wsss_bench.artifacts.layout import FAILURE_FILE, LOG_FILE, PROGRESS, find_manifest
from wsss_bench.artifacts.locks import Locks
from wsss_bench.bench.attempts import Attempts
from wsss_bench.bench.capacity import Capacity
from wsss_bench.bench.gpu_pool import GPUPool
from wsss_bench.bench.launchers import Job, Launcher, stop_all
from wsss_bench.bench.order import by_longest_chain
from wsss_bench.bench.resources import Machine, nodes_of, ranks_of, slots_of
from wsss_bench.bench.running import Active, Failure, Reporter, Snapshot, tail
from wsss_bench.bench.shared_stages import SharedStages
from wsss_bench.bench.stage_start import begin_anew_if_inputs_changed, note_in_log, together
from wsss_bench.bench.stalls import STALLED_MINUTES, StallWatch
from wsss_bench.plan.plan import Plan, Stage, StageFolder

POLL_SECONDS = 0.05
LOOK_SECONDS = 5.0
"""Between two looks at all waiting stages while none ends: each asks the file system for its inputs."""
PATIENCE_SECONDS = 0.5
TRAINING_PATIENCE_SECONDS = 30.0
"""For a step and a checkpoint; as long as Slurm waits."""
LOST = "stopped, since another process has taken over its lock; it is waited for"


class Runner:
    """Runs the incomplete stages of a plan.

    Stages that other benches run are waited for (`SharedStages`).

    Args:
        plan: The plan.
        folder: All stages, these and earlier ones.
        machine: Cores and GPUs.
        launcher: Starts stages.
        reporter: Shows progress.
        stalled_minutes: Minutes without progress after which a running stage is reported.
        seconds: Estimated wall seconds of a stage, None if unknown; by default what earlier runs took.
        locks: Of the bench; by default none but those that the runner takes.
        completed: Called with each stage that is complete.
    """

    def __init__(
        self,
        plan: Plan,
        folder: StageFolder,
        machine: Machine,
        launcher: Launcher,
        reporter: Reporter,
        stalled_minutes: float = STALLED_MINUTES,
        seconds: Callable[[Stage], float | None] | None = None,
        locks: Locks | None = None,
        completed: Callable[[Stage], None] = lambda stage: None,
    ) -> None:
        self._plan = plan
        self._root = folder.root
        self._stalled_seconds = 60 * stalled_minutes
        self._machine = machine
        self._launcher = launcher
        self._reporter = reporter
        self._completed = completed
        self._seconds = seconds or folder.estimate
        ordered = by_longest_chain(plan, self._seconds)
        self._waiting = [stage for stage in ordered if not is_complete(stage.path)]
        self._total = len(self._waiting)
        self._shared = SharedStages(locks or Locks(BENCH), self._waiting, reporter)
        self._active: list[Active] = []
        self._capacity = Capacity(machine, self._active, self._seconds)
        self._attempts = Attempts(self._shared, reporter)
        self._failures: dict[str, Failure] = {}
        self._alone: set[str] = set()

    def run(self) -> list[Failure]:
        """Run until no stage is left that can run; returns those that failed or were skipped.

        Raises:
            KeyboardInterrupt: passed on after all running stages are stopped.
            FolderDeleted: the folder of the stages was deleted; all running stages are stopped.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        root = WatchedFolder(self._root)
        try:
            next_look = time.monotonic()
            while self._waiting or self._active:
                root.check()
                self._stop_lost()
                if self._collect() or time.monotonic() >= next_look:
                    waiting = len(self._waiting)
                    self._start_ready()
                    changed = len(self._waiting) != waiting
                    next_look = time.monotonic() + (0.0 if changed else LOOK_SECONDS)
                self._look_at_queue()
                self._report_stalled()
                failures = list(self._failures.values())
                elsewhere = self._shared.elsewhere
                self._reporter.tick(Snapshot(self._active, self._waiting, failures, self._total, elsewhere))
                time.sleep(POLL_SECONDS)
            root.check()
        finally:
            self._stop()
            for active in self._active:
                self._shared.release(*active.stages)
        return list(self._failures.values())

    def _stop(self) -> None:
        """End all processes; trainings write a checkpoint first."""
        trainings = [active for active in self._active if active.stage.command == "fit"]
        if trainings:
            self._reporter.stopping(len(trainings))
        stop_all(
            {
                active.running: TRAINING_PATIENCE_SECONDS if active in trainings else PATIENCE_SECONDS
                for active in self._active
            }
        )

    def _start_ready(self) -> None:
        coming, capacity = self._coming(), self._capacity
        reserved: dict[GPUPool, float] = {}  # when a stage of several GPUs, which waits for them, can start
        for stage in list(self._waiting):
            if stage not in self._waiting:  # started together with another
                continue
            inputs = self._inputs(stage)
            lost = [parent for parent in inputs if parent.fingerprint in self._failures]
            incomplete = [parent for parent in inputs if not is_complete(parent.path)]
            gone = [parent for parent in incomplete if parent.fingerprint not in coming]
            if not lost and gone and all(parent.path.is_dir() for parent in gone):
                for parent in gone:  # another bench has opened it again
                    self._queue(parent)
                coming = self._coming()
                continue
            if lost or gone:
                self._waiting.remove(stage)
                reason = (
                    f"skipped, its input failed ({lost[0].name})"
                    if lost
                    else f"skipped, its input ({gone[0].name}) was deleted while the bench worked"
                )
                self._fail(stage, 0.0, Failure(stage, reason, started=False))
            elif incomplete or self._shared.is_elsewhere(stage):
                continue
            elif is_complete(stage.path):
                self._completed_elsewhere(stage)
            elif lacking := capacity.lacking(stage):
                self._waiting.remove(stage)
                reason = f"could not be started: {lacking} GPU(s) too few for it are visible here"
                self._fail(stage, 0.0, Failure(stage, reason))
            elif not capacity.fits(stage):
                pool = capacity.pool(stage)
                if pool not in reserved and (moment := capacity.reservation(stage)) is not None:
                    reserved[pool] = moment
            elif capacity.ends_before(stage, reserved.get(capacity.pool(stage), math.inf)):
                members = [one for one in (stage, *self._companions(stage)) if self._take(one)]
                self._waiting = [other for other in self._waiting if other not in members]
                if members:
                    self._start(members[0], members[1:])

    def _inputs(self, stage: Stage) -> list[Stage]:
        """The stages that a stage reads."""
        return [self._plan.stages[key] for key in stage.inputs.values()]

    def _coming(self) -> set[str]:
        """Fingerprints of the stages that this bench runs or will run."""
        running = {stage.fingerprint for active in self._active for stage in active.stages}
        return running | {stage.fingerprint for stage in self._waiting}

    def _queue(self, stage: Stage) -> None:
        """Run a stage that was complete once more, or wait for another bench that does."""
        if stage.fingerprint not in self._coming():
            self._waiting.append(stage)
            self._total += 1

    def _completed_elsewhere(self, stage: Stage) -> None:
        self._waiting.remove(stage)
        self._complete(stage, find_manifest(stage.path).get("wall_seconds", 0.0))

    def _complete(self, stage: Stage, seconds: float) -> None:
        self._reporter.finished(stage, seconds, None)
        self._completed(stage)

    def _take(self, stage: Stage) -> bool:
        """Take the lock of a stage that is to be started, unless it runs or has ended elsewhere meanwhile."""
        try:
            if not self._shared.take(stage):
                return False
        except OSError as error:  # a full disk
            self._waiting.remove(stage)
            self._fail(stage, 0.0, not_started(stage, error))
            return False
        failure = self._shared.failed_elsewhere(stage)
        if failure is not None:
            self._waiting.remove(stage)
            self._fail(stage, 0.0, failure)
        elif is_complete(stage.path):
            self._completed_elsewhere(stage)
        else:
            return True
        self._shared.release(stage)
        return False

    def _companions(self, stage: Stage) -> list[Stage]:
        """Waiting stages that can run in the process of this one."""
        if not stage.shares or stage.fingerprint in self._alone:
            return []
        if ranks_of(stage, len(self._machine.gpus)) > 1:
            return []
        return [
            other
            for other in self._waiting
            if other.shares == stage.shares
            and other.fingerprint not in self._alone | {stage.fingerprint}
            and all(is_complete(parent.path) for parent in self._inputs(other))
        ]

    def _start(self, stage: Stage, companions: list[Stage]) -> None:
        gpus = self._capacity.take_gpus(stage)
        job = Job(
            [*stage.arguments, *together(companions)],
            stage.path,
            gpus=gpus if self._machine.gpus else None,
            ranks=ranks_of(stage, len(self._machine.gpus)) > 1,
            nodes=nodes_of(stage),
            workers=max(1, len(os.sched_getaffinity(0)) // self._machine.jobs),
            locks=self._shared.name,
            avoided=self._capacity.pool(stage).avoided_by(stage.fingerprint),
        )
        try:
            for member in (stage, *companions):
                begin_anew_if_inputs_changed(member)
                member.write_plan()
                (member.path / FAILURE_FILE).unlink(missing_ok=True)
            for companion in companions:
                note_in_log(companion, f"runs together with {stage.name}: {stage.path / LOG_FILE}")
            running = self._launcher.start(job)
        except OSError as error:  # a full disk, no more processes
            self._capacity.pool(stage).give_back(gpus)
            self._shared.release(stage, *companions)
            for member in (stage, *companions):
                self._fail(member, 0.0, not_started(member, error))
            return
        watch = StallWatch(stage.path / PROGRESS, self._stalled_seconds)
        slots, now = slots_of(stage, self._machine), time.monotonic()
        begun = running.has_begun
        self._active.append(Active(stage, companions, running, gpus, slots, watch, now, begun))
        for member in (stage, *companions):
            self._reporter.started(member)

    def _look_at_queue(self) -> None:
        """Let the time of stages that have left the queue begin."""
        for active in self._active:
            if not active.begun and active.running.has_begun:
                active.begun, active.started = True, time.monotonic()
                active.watch = StallWatch(active.stage.path / PROGRESS, self._stalled_seconds)

    def _report_stalled(self) -> None:
        for active in self._active:
            if not active.begun:
                continue
            seconds = active.watch.silent_seconds()
            if seconds is not None:
                self._reporter.stalled(active.stage, seconds)

    def _stop_lost(self) -> None:
        """Stop the processes that work in a stage whose lock another process has taken over.

        At once: a training would write a checkpoint, and the other process may have written a newer one.
        """
        for active in self._active:
            if not active.lost and self._shared.have_lost(active.stages):
                active.lost = True
                active.running.kill()

    def _collect(self) -> bool:
        """Take note of the processes that have ended; returns whether there were any."""
        before = len(self._active)
        for active in list(self._active):
            status = active.running.exit_status
            if status is None:
                continue
            self._active.remove(active)
            self._capacity.pool(active.stage).give_back(active.gpus)
            seconds = time.monotonic() - active.started
            for stage in active.stages:
                if active.lost:
                    self._waiting.append(stage)
                    self._reporter.finished(stage, seconds, Failure(stage, LOST))
                elif is_complete(stage.path) and (status == 0 or active.companions):
                    self._complete(stage, seconds)
                else:
                    self._ended_incomplete(stage, status, seconds, active)
            self._shared.release(*active.stages)
        return len(self._active) < before

    def _ended_incomplete(self, stage: Stage, status: int, seconds: float, active: Active) -> None:
        reason = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        if status == 0:
            reason = "ended without its stage.json"
        lines = tail(active.stage.path / LOG_FILE)
        reason = full_disk_in_log(lines) or reason
        if active.companions:  # only one of them may be to blame
            self._alone.add(stage.fingerprint)
            self._waiting.append(stage)
            again = Failure(stage, f"{reason}, together with others; tried again alone")
            self._reporter.finished(stage, seconds, again)
            return
        if damaged := self._attempts.mend_inputs(stage, self._inputs(stage)):
            for parent, _ in damaged:
                self._queue(parent)
            self._waiting.append(stage)
            inputs = ", ".join(words for _, words in damaged)
            again = Failure(stage, f"{reason}; tried again, since an input is damaged: {inputs}")
            self._reporter.finished(stage, seconds, again)
            return
        gpus = active.gpus if active.running.gpus is None else active.running.gpus
        moves = self._attempts.moves(stage, seconds, gpus, self._capacity.pool(stage))
        if moves or self._attempts.may_pass(stage, status, lines):
            self._waiting.insert(0, stage)
            self._reporter.finished(stage, seconds, Failure(stage, f"{reason}; tried again", lines))
            return
        try:
            self._shared.record_failure(stage, reason)
        except OSError as error:  # a disk that is full to the last byte takes no log of the stage either
            reason = full_disk(error, stage.path) or reason
        self._fail(stage, seconds, Failure(stage, reason, lines))

    def _fail(self, stage: Stage, seconds: float, failure: Failure) -> None:
        self._failures[stage.fingerprint] = failure
        self._reporter.finished(stage, seconds, failure)


def not_started(stage: Stage, error: OSError) -> Failure:
    """A stage whose process, or whose lock, could not be made."""
    return Failure(stage, f"could not be started: {full_disk(error, stage.path) or error}")
