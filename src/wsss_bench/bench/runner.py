"""Runs the missing stages of a plan on cores and GPUs, and continues after a failure."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence

from wsss_bench.artifacts.disk import WatchedFolder, full_disk, full_disk_in_log
from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.holder import BENCH
from wsss_bench.artifacts.layout import (
    BEGUN_FILE,
    FAILURE_FILE,
    LOG_FILE,
    PLAN_FILE,
    PROGRESS,
    TOGETHER,
    find_json,
    find_manifest,
    shortened,
)
from wsss_bench.artifacts.locks import Locks
from wsss_bench.artifacts.stage_files import damaged_files, inputs_read, remove_stage
from wsss_bench.bench.gpu_pool import QUICK_SECONDS, GPUPool
from wsss_bench.bench.launchers import Job, Launcher, stop_all
from wsss_bench.bench.order import by_longest_chain
from wsss_bench.bench.resources import Machine, gpus_on_all_nodes, nodes_of, ranks_of, slots_of
from wsss_bench.bench.running import Active, Failure, Reporter, Snapshot, tail
from wsss_bench.bench.shared_stages import SharedStages
from wsss_bench.bench.stalls import STALLED_MINUTES, StallWatch
from wsss_bench.bench.transient import is_transient
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
        self._pools: dict[tuple[str, ...], GPUPool] = {}
        self._failures: dict[str, Failure] = {}
        self._tried_again: set[str] = set()
        self._made_again: set[str] = set()
        self._done_before: dict[str, float] = {}
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
        coming = self._coming()
        reserved: dict[GPUPool, float] = {}  # when a stage of several GPUs, which waits for them, can start
        for stage in list(self._waiting):
            if stage not in self._waiting:  # started together with another
                continue
            inputs = [self._plan.stages[key] for key in stage.inputs.values()]
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
            elif not self._fits(stage):
                if self._pool(stage) not in reserved and (moment := self._reservation(stage)) is not None:
                    reserved[self._pool(stage)] = moment
            elif self._ends_before(stage, reserved.get(self._pool(stage), math.inf)):
                members = [one for one in (stage, *self._companions(stage)) if self._take(one)]
                self._waiting = [other for other in self._waiting if other not in members]
                if members:
                    self._start(members[0], members[1:])

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
            and all(is_complete(self._plan.stages[key].path) for key in other.inputs.values())
        ]

    def _pool(self, stage: Stage) -> GPUPool:
        """The GPUs from which a stage gets its own."""
        names = self._machine.gpus_for(stage)
        return self._pools.setdefault(names, GPUPool(names))

    def _fits(self, stage: Stage) -> bool:
        if wanted := gpus_on_all_nodes(stage, len(self._machine.gpus)):
            on_gpus = sum(1 for active in self._active if active.gpus)
            free = len(self._pool(stage).free_for(stage.fingerprint, wanted))
            return on_gpus < self._machine.jobs_on_gpus and wanted <= free
        used = sum(active.slots for active in self._active)
        return not used or used + slots_of(stage, self._machine) <= self._machine.jobs

    def _reservation(self, stage: Stage) -> float | None:
        """When a stage of several GPUs can start at the latest, by the estimates of what runs.

        Until then no other stage gets a GPU that would hold it for longer: else single GPUs would go on being
        taken as soon as they are free. None for a stage that waits for one GPU, or for none.
        """
        wanted = gpus_on_all_nodes(stage, len(self._machine.gpus))
        if wanted < 2:
            return None
        pool = self._pool(stage)
        now, free = time.monotonic(), len(pool.free_for(stage.fingerprint, wanted))
        ends = []
        for active in self._active:
            if self._pool(active.stage) is not pool:
                continue
            seconds = [self._seconds(one) for one in active.stages]
            known = [one for one in seconds if one is not None]
            ends += [max(now, active.started + sum(known))] * len(active.gpus)
        ends.sort()
        return ends[min(wanted - free, len(ends)) - 1] if ends and wanted > free else now

    def _ends_before(self, stage: Stage, moment: float) -> bool:
        """Whether a stage needs no GPU, or will have given it back by then."""
        if moment == math.inf or not gpus_on_all_nodes(stage, len(self._machine.gpus)):
            return True
        seconds = self._seconds(stage)
        return seconds is not None and time.monotonic() + seconds <= moment

    def _start(self, stage: Stage, companions: list[Stage]) -> None:
        wanted = gpus_on_all_nodes(stage, len(self._machine.gpus))
        gpus = self._pool(stage).take(stage.fingerprint, wanted)
        job = Job(
            [*stage.arguments, *together(companions)],
            stage.path,
            gpus=gpus if self._machine.gpus else None,
            ranks=ranks_of(stage, len(self._machine.gpus)) > 1,
            nodes=nodes_of(stage),
            workers=max(1, len(os.sched_getaffinity(0)) // self._machine.jobs),
            locks=self._shared.name,
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
            self._pool(stage).give_back(gpus)
            self._shared.release(stage, *companions)
            for member in (stage, *companions):
                self._fail(member, 0.0, not_started(member, error))
            return
        watch = StallWatch(stage.path / PROGRESS, self._stalled_seconds)
        slots, now = slots_of(stage, self._machine), time.monotonic()
        self._active.append(Active(stage, companions, running, gpus, slots, watch, now))
        for member in (stage, *companions):
            self._reporter.started(member)

    def _report_stalled(self) -> None:
        for active in self._active:
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
            self._pool(active.stage).give_back(active.gpus)
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
        if damaged := self._reopen_inputs(stage):
            self._waiting.append(stage)
            again = Failure(stage, f"{reason}; tried again, since an input is damaged: {damaged}")
            self._reporter.finished(stage, seconds, again)
            return
        if self._moves(stage, seconds, active) or self._is_tried_again(stage, status, lines):
            self._waiting.insert(0, stage)
            self._reporter.finished(stage, seconds, Failure(stage, f"{reason}; tried again", lines))
            return
        try:
            self._shared.record_failure(stage, reason)
        except OSError as error:  # a disk that is full to the last byte takes no log of the stage either
            reason = full_disk(error, stage.path) or reason
        self._fail(stage, seconds, Failure(stage, reason, lines))

    def _moves(self, stage: Stage, seconds: float, active: Active) -> bool:
        """Whether a stage that failed at once on a GPU is tried on another one."""
        if not active.gpus or seconds > QUICK_SECONDS:
            return False
        pool = self._pool(stage)
        before = pool.set_aside
        moves = pool.failed(stage.fingerprint, active.gpus)
        for gpu in set(pool.set_aside) - set(before):
            self._reporter.set_aside(gpu, pool.usable)
        return moves

    def _is_tried_again(self, stage: Stage, status: int, lines: str) -> bool:
        """Whether a failure may pass: a signal, or a message of a driver or a file system.

        Once for a stage, and again as long as it comes further each time, as a training does that is longer
        than the walltime of its node.
        """
        if not is_transient(status, lines):
            return False
        done = find_json(stage.path / PROGRESS).get("done", 0)
        before = self._done_before.get(stage.fingerprint)
        self._done_before[stage.fingerprint] = done
        return before is None or done > before

    def _reopen_inputs(self, stage: Stage) -> str:
        """Look for damage in what a failed stage has read, and let its inputs make it again, once.

        Returns:
            The inputs that run again, in words; empty if the stage failed for another reason.
        """
        if stage.fingerprint in self._tried_again:
            return ""
        found = []
        for parent in (self._plan.stages[key] for key in stage.inputs.values()):
            if parent.fingerprint not in self._made_again and (damaged := damaged_files(parent.path)):
                self._made_again.add(parent.fingerprint)
                self._shared.mend(parent)
                found.append(f"{parent.name} ({shortened(damaged, 3)})")
                self._queue(parent)
            elif not is_complete(parent.path):  # reopened for another stage that reads it
                found.append(parent.name)
                self._queue(parent)
        if found:
            self._tried_again.add(stage.fingerprint)
        return ", ".join(found)

    def _fail(self, stage: Stage, seconds: float, failure: Failure) -> None:
        self._failures[stage.fingerprint] = failure
        self._reporter.finished(stage, seconds, failure)


def not_started(stage: Stage, error: OSError) -> Failure:
    """A stage whose process, or whose lock, could not be made."""
    return Failure(stage, f"could not be started: {full_disk(error, stage.path) or error}")


def together(companions: Sequence[Stage]) -> list[str]:
    """Arguments that let the command of a stage run further stages, too."""
    files = [str(companion.path / PLAN_FILE) for companion in companions]
    return [TOGETHER, *files] if files else []


def note_in_log(stage: Stage, line: str) -> None:
    """Add a line to the log of a stage that does not write one itself."""
    with open(stage.path / LOG_FILE, "a") as log:
        log.write(f"{line}\n")


def begin_anew_if_inputs_changed(stage: Stage) -> None:
    """Remove an interrupted stage, locked, if an input was made again since it began, with other files.

    Its results so far belong to the old input. The log of the new attempt says so.
    """
    read = find_json(stage.path / BEGUN_FILE).get("read", {})
    now = inputs_read(stage.config)
    changed = [role for role in read if role in now and read[role] != now[role]]
    if changed:
        remove_stage(stage.path)
        stage.path.mkdir(parents=True)
        (stage.path / LOG_FILE).write_text(
            f"begins anew: {', '.join(changed)} was made again since the interrupted attempt\n"
        )
