"""Runs what is missing of a plan, from the printed plan to the table."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from rich.console import Console

from wsss_bench.artifacts.disk import naming_full_disk
from wsss_bench.artifacts.holder import BENCH
from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.artifacts.locks import Locks
from wsss_bench.bench.cluster import Cluster, check_nodes
from wsss_bench.bench.first_checks import check_stages_to_run, depth_of_dry_run, print_space
from wsss_bench.bench.launchers import Launcher, LocalLauncher
from wsss_bench.bench.live import LiveReporter
from wsss_bench.bench.planned_costs import PlannedCosts
from wsss_bench.bench.progress import PlainReporter
from wsss_bench.bench.pruner import Pruner
from wsss_bench.bench.resources import Machine, gpus_of
from wsss_bench.bench.results import show_results
from wsss_bench.bench.runner import Runner
from wsss_bench.bench.running import Failure, Reporter
from wsss_bench.bench.signals import stop_signals, stopped
from wsss_bench.bench.stages_to_run import open_again, stages_to_run
from wsss_bench.bench.stalls import STALLED_MINUTES
from wsss_bench.bench.time_left import TimeLeft
from wsss_bench.bench.validate import methods_of
from wsss_bench.bench.visible_gpus import visible_gpus
from wsss_bench.closed_pipe import going_on_unread
from wsss_bench.plan.again import stages_to_run_again, with_pruned_inputs
from wsss_bench.plan.description import describe
from wsss_bench.plan.plan import Plan, Stage, StageFolder
from wsss_bench.plan.plan_record import write_plan_record
from wsss_bench.plan.state import StageState, states_of


def run_bench(
    plan: Plan,
    runs: Path,
    jobs: int | None = None,
    launcher: Launcher | None = None,
    again: Sequence[str] = (),
    stalled_minutes: float = STALLED_MINUTES,
    costs: PlannedCosts | None = None,
    cluster: Cluster | None = None,
    pruned: Collection[str] = (),
) -> int:
    """Run the missing and damaged stages of `plan`, then write and print the table.

    Args:
        plan: The plan.
        runs: Folder of all results.
        jobs: Number of stages that run at a time, on cores and on GPUs each; by default that of the
            experiment, or one per core or GPU.
        launcher: Starts the stages. Tests give one for stages of their own; the configurations are not
            checked then.
        again: Rows and stages to run again (`plan.again`).
        stalled_minutes: Minutes without progress after which a running stage is reported.
        costs: What the printed plan says about costs; by default those on this machine.
        cluster: The nodes that run the stages; None for this machine.
        pruned: Kinds of files that are removed once they are read (`prune.KINDS`).

    Returns:
        The exit status, as of `main`.

    Raises:
        DiskFull: there is no space left in `runs`.
        LockHeld: another process works in a stage of `again`.
        FolderDeleted: `runs` was deleted while stages ran.
    """
    failures: list[Failure] = []
    with (
        Locks(BENCH) as locks,
        naming_full_disk(runs),
        stop_signals(),
        going_on_unread(unread_note(plan, runs)),
    ):
        try:
            states = states_of(plan)
            renewed = stages_to_run_again(plan, again, states)
            states = with_pruned_inputs(plan, states, renewed)
            write_plan_record(plan, runs)
            print_plan(plan, runs, states, renewed, costs)
            missing = stages_to_run(plan, states, renewed)
            pruner = Pruner(plan, runs, pruned, locks)
            if missing:
                print_space(missing, runs, pruned)
                check_nodes(cluster, missing)
                machine = cluster.machine if cluster else find_machine(missing, jobs or plan.jobs)
                with closing(launcher or launcher_of(cluster, runs)) as starts:
                    if launcher is None:
                        starts.warm_up()
                        # the machine that submits to a queue may have no GPU to build a trainer with
                        depth = {"depth": depth_of_dry_run(plan)} if cluster else {}
                        check_stages_to_run(missing, **depth, methods=methods_of(plan))
                    open_again(plan, states, renewed, locks)
                    pruner.look()
                    failures = run_stages(plan, runs, machine, starts, stalled_minutes, locks, pruner)
            else:
                pruner.look()
            show_results(plan, runs)
            for line in pruner.lines():
                print(line)
        except KeyboardInterrupt as stop:
            return stopped(stop)
        print_failures(plan, failures)
    return 1 if failures else 0


def launcher_of(cluster: Cluster | None, runs: Path) -> Launcher:
    """What starts stages on the nodes of a cluster, or on this machine."""
    if cluster is None:
        return LocalLauncher()
    from wsss_bench.bench.parsl_launcher import ParslLauncher

    return ParslLauncher(cluster, runs / ".parsl")


def unread_note(plan: Plan, runs: Path) -> str:
    """What a bench says when the reader of its output has gone."""
    return (
        "nobody reads the output any more; the bench goes on without it, "
        f"Ctrl-C or `kill {os.getpid()}` stops it; the table will be in {runs / plan.experiment}"
    )


def print_plan(
    plan: Plan,
    runs: Path,
    states: Mapping[str, StageState],
    again: Sequence[Stage],
    costs: PlannedCosts | None = None,
) -> None:
    """Print the stages of a plan with their states and costs; `again` are run again on request."""
    costs = costs or PlannedCosts(plan, runs)
    wanted = {stage.fingerprint for stage in again}
    print(f"plan of {plan.experiment} in {runs}/stages:")
    for line in describe(plan, StageFolder(runs), states, wanted, costs.estimates):
        print(line)
    for note in [*plan.notes, *costs.notes(stages_to_run(plan, states, again))]:
        print(f"note: {note}")
    sys.stdout.flush()


def find_machine(stages: Sequence[Stage], jobs: int | None) -> Machine:
    """The cores or GPUs that stages run on, by default one stage on each.

    Raises:
        ValueError: a stage needs more GPUs than are visible.
    """
    trainers = [stage for stage in stages if gpus_of(stage, 1)]
    if not trainers:
        return Machine(jobs or len(os.sched_getaffinity(0)))
    gpus = tuple(visible_gpus())
    wanted = max(gpus_of(stage, len(gpus)) for stage in trainers)
    if wanted > len(gpus):
        raise ValueError(
            f"the trainer asks for {wanted} GPU(s) and {len(gpus)} are visible; "
            "set `trainer: cpu` in the experiment, lower `devices`, or check CUDA_VISIBLE_DEVICES"
        )
    return Machine(jobs or len(gpus), gpus)


def run_stages(
    plan: Plan,
    runs: Path,
    machine: Machine,
    launcher: Launcher,
    stalled_minutes: float,
    locks: Locks,
    pruner: Pruner,
) -> list[Failure]:
    """Run the missing stages; progress is a live view on a terminal and plain lines elsewhere."""
    console = Console()
    folder = StageFolder(runs)
    # on this machine, also where the plan was printed for another device
    estimates = PlannedCosts(plan, runs).estimates

    def seconds(stage: Stage) -> float | None:
        return estimates.cost(stage).seconds

    time_left = TimeLeft(machine, seconds)
    with ExitStack() as stack:
        reporter: Reporter = (
            stack.enter_context(LiveReporter(console, time_left))
            if console.is_terminal
            else PlainReporter(time_left)
        )
        completed = pruner.completed
        return Runner(
            plan, folder, machine, launcher, reporter, stalled_minutes, seconds, locks, completed
        ).run()


def print_failures(plan: Plan, failures: list[Failure]) -> None:
    """Print to stderr the failed stages with the end of their logs, and the skipped stages."""
    for failure in failures:
        if failure.started:
            print(f"\nFAILED {failure.stage.name}: {failure.reason}", file=sys.stderr)
            print(f"  {failure.stage.path / LOG_FILE} ends with:", file=sys.stderr)
            print("\n".join(f"    {line}" for line in failure.tail.splitlines()), file=sys.stderr)
            print(f"  run it alone: wsss-bench {shlex.join(failure.stage.arguments)}", file=sys.stderr)
    skipped = [failure for failure in failures if not failure.started]
    if skipped:
        print("\nnot started, because an input failed:", file=sys.stderr)
        print("\n".join(f"  {failure.stage.name}" for failure in skipped), file=sys.stderr)
    if failures:
        counts = f"{len(failures) - len(skipped)} stages failed and {len(skipped)} were skipped"
        print(f"\n{counts}, of {len(plan.stages)}; the same command tries them again", file=sys.stderr)
