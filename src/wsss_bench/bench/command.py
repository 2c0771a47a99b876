"""`wsss-bench bench experiments/mini.yaml`: plan, run the missing stages, print the table."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from string import Template

from rich.console import Console

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.artifacts.disk import naming_full_disk
from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.holder import BENCH
from wsss_bench.artifacts.layout import LOG_FILE, find_manifest
from wsss_bench.artifacts.locks import LockHeld, Locks, held_message
from wsss_bench.artifacts.pruning import pruned_folders
from wsss_bench.artifacts.stage_files import damaged_files, remove_stage, reopen, sweep
from wsss_bench.bench.calibrate import calibrate
from wsss_bench.bench.cluster import Cluster, check_nodes, read_cluster
from wsss_bench.bench.data_digests import look_at_data
from wsss_bench.bench.first_checks import check_stages_to_run, depth_of_dry_run, print_space
from wsss_bench.bench.launchers import Launcher, LocalLauncher, visible_gpus
from wsss_bench.bench.live import LiveReporter
from wsss_bench.bench.planned_costs import PlannedCosts
from wsss_bench.bench.progress import PlainReporter
from wsss_bench.bench.prune import KINDS
from wsss_bench.bench.pruner import Pruner
from wsss_bench.bench.resources import Machine, gpus_of
from wsss_bench.bench.results import show_results
from wsss_bench.bench.runner import Runner
from wsss_bench.bench.running import Failure, Reporter
from wsss_bench.bench.signals import Stopped, stop_signals
from wsss_bench.bench.stalls import STALLED_MINUTES
from wsss_bench.bench.time_left import TimeLeft
from wsss_bench.bench.validate import methods_of
from wsss_bench.closed_pipe import going_on_unread
from wsss_bench.plan.again import stages_to_run_again, with_pruned_inputs
from wsss_bench.plan.costs.devices import GPUS, named_device
from wsss_bench.plan.description import describe
from wsss_bench.plan.plan import Plan, Stage, StageFolder
from wsss_bench.plan.plan_record import write_plan_record
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.state import StageState, damage_of, states_of
from wsss_bench.tracking.runs import mode


def main(argv: list[str]) -> int:
    """Run a benchmark matrix.

    Returns:
        0 if all stages are complete, 1 if one failed; after a signal 128 plus its number: 130 for Ctrl-C, 143
        for `kill`, 129 if the terminal was closed.
    """
    parser = LineParser(prog="wsss-bench bench", description="Run a benchmark matrix and print its table.")
    add_matrix_arguments(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan with the estimated time and stop"
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="train 20 steps of each distinct training on this machine, print the plan with what they took, "
        "and stop; later plans use them",
    )
    parser.add_argument(
        "--on",
        metavar="DEVICE",
        help=f"print the plan for another device: cpu, {', '.join(GPUS)}",
    )
    parser.add_argument(
        "--memory",
        type=float,
        metavar="GIB",
        help="GPU memory that trainings are compared with (default: that of the device; 24 if it is unknown)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=None,
        help="stages at a time, on cores and on GPUs each (default: one per core, or one per GPU)",
    )
    parser.add_argument(
        "--again",
        action="append",
        default=[],
        metavar="ROW|STAGE|changed",
        help="run these stages again, and all that read them: those of a row of the table, one as the plan "
        "prints it, or all that have changed since they ran (may be given several times)",
    )
    parser.add_argument(
        "--stalled",
        type=float,
        default=STALLED_MINUTES,
        metavar="MINUTES",
        help="report a stage without progress for so long, and again after twice as long, and so on; "
        f"it is not stopped (default: {STALLED_MINUTES:g})",
    )
    parser.add_argument(
        "--prune",
        action="append",
        default=[],
        choices=KINDS,
        help="remove these files of a stage as soon as all stages that read them are complete; they are made "
        "again if a new stage reads them (may be given several times)",
    )
    parser.add_argument(
        "--launcher",
        choices=["local", "parsl"],
        default="local",
        help="where stages run: on this machine, or on the nodes of a cluster through Parsl",
    )
    parser.add_argument(
        "--cluster",
        type=Path,
        metavar="FILE",
        help="the nodes for --launcher parsl, such as configs/clusters/slurm.yaml",
    )
    options = parser.parse_args(argv)
    if (options.launcher == "parsl") != (options.cluster is not None):
        parser.error("--launcher parsl and --cluster FILE belong together; give both or neither")
    if options.cluster is not None and options.jobs is not None:
        parser.error("--jobs is for this machine; the file of --cluster says how many stages run at a time")
    cluster = read_cluster(options.cluster) if options.cluster is not None else None
    if options.jobs is not None and options.jobs < 1:
        parser.error(f"--jobs: expected 1 or more, got {options.jobs}")
    if options.memory is not None and not 0 < options.memory < math.inf:
        parser.error(f"--memory: expected a number of GiB above 0, got {options.memory:g}")
    if not 0 < options.stalled < math.inf:
        parser.error(f"--stalled: expected a number of minutes above 0, got {options.stalled:g}")
    device = named_device(options.on) if options.on else None
    mode()
    plan = make_plan(options.experiment, options.runs, options.configs, options.methods, options.set)
    try:
        with stop_signals():
            if not options.dry_run:
                with going_on_unread(unread_note(plan, options.runs)):
                    prepare(plan)
            plan = look_at_data(plan, options.runs, record=not options.dry_run)
            if options.calibrate:
                calibrate(plan, options.runs)
    except KeyboardInterrupt as stop:
        return stopped(stop)
    costs = PlannedCosts(plan, options.runs, device, options.memory)
    if options.dry_run or options.calibrate:
        states = states_of(plan)
        renewed = stages_to_run_again(plan, options.again, states)
        states = with_pruned_inputs(plan, states, renewed)
        print_plan(plan, options.runs, states, renewed, costs)
        if options.calibrate:
            return 0
        missing = stages_to_run(plan, states, renewed)
        print_space(missing, options.runs, options.prune)
        check_nodes(cluster, missing)
        check_stages_to_run(missing, depth_of_dry_run(plan), methods_of(plan))
        return 0
    return run_bench(
        plan,
        options.runs,
        options.jobs,
        again=options.again,
        stalled_minutes=options.stalled,
        costs=costs,
        cluster=cluster,
        pruned=options.prune,
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
                machine = cluster.machine if cluster else find_machine(plan, jobs or plan.jobs)
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


def open_again(plan: Plan, states: Mapping[str, StageState], renewed: Sequence[Stage], locks: Locks) -> None:
    """Remove the stages that are run again, open the pruned ones that are read, and remove damaged files.

    Those that read come before those that they read: if the bench is killed in between, no stage stands
    beside an input that it was not made from. Damaged and pruned stages that another process works in are
    left to it.

    Raises:
        LockHeld: another process works in a stage that is to be run again; nothing was removed.
    """
    if plan.stages:
        sweep(next(iter(plan.stages.values())).path.parent)
    there = [stage for stage in reversed(renewed) if stage.path.is_dir()]
    try:
        for stage in there:
            if (holder := locks.take(stage.path)) is not None:
                raise LockHeld(f"nothing was removed, since {held_message(stage.path, holder)}")
        for stage in there:
            remove_stage(stage.path)
    finally:
        for stage in there:
            locks.release(stage.path)
    for key, stage in plan.stages.items():
        opened = states[key].progress in ("damaged", "pruned") and stage.path.is_dir()
        if opened and locks.take(stage.path) is None:
            if is_complete(stage.path):  # else another bench has opened it since the plan was made
                damaged = damage_of(stage, find_manifest(stage.path) or None)
                damaged += damaged_files(stage.path)
                if damaged or pruned_folders(stage.path):
                    reopen(stage.path, damaged)
            locks.release(stage.path)


def stages_to_run(plan: Plan, states: Mapping[str, StageState], renewed: Sequence[Stage]) -> list[Stage]:
    """The stages that are not complete or are run again on request."""
    wanted = {stage.fingerprint for stage in renewed}
    return [
        stage for key, stage in plan.stages.items() if key in wanted or states[key].progress != "complete"
    ]


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


def prepare(plan: Plan) -> None:
    """Make the data sets whose protocol has a command for it (`prepare`).

    Raises:
        ValueError: the command of a data set failed.
    """
    from wsss_bench.cli import main as command_line

    for name, data in plan.datasets.items():
        if data.protocol.prepare:
            # sources have this default too; other variables must be set by the user
            arguments = [
                Template(word).safe_substitute({"WSSS_DATA": "data", **os.environ})
                for word in data.protocol.prepare
            ]
            print(f"preparing {name}: wsss-bench {shlex.join(arguments)}", flush=True)
            status = command_line(arguments)
            if status > 128:  # a signal
                raise Stopped(status - 128)
            if status != 0:
                raise ValueError(f"data set {name} could not be prepared; see the message above")


def find_machine(plan: Plan, jobs: int | None) -> Machine:
    """The cores or GPUs that stages run on.

    Raises:
        ValueError: a stage needs more GPUs than are visible.
    """
    trainers = [stage for stage in plan.stages.values() if gpus_of(stage, 1)]
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


def resume_command() -> str:
    """The command line that was given, without `--again`: what it names has been removed already."""
    words, kept = iter(sys.argv[1:]), []
    for word in words:
        if word == "--again":
            next(words, None)
        elif not word.startswith("--again="):
            kept.append(word)
    return shlex.join(["wsss-bench", *kept])


def stopped(stop: KeyboardInterrupt) -> int:
    """Say how to go on after a signal; returns the exit status."""
    with suppress(OSError):  # the terminal may be gone
        print(
            f"\nstopped; nothing finished is lost, the same command goes on: {resume_command()}",
            file=sys.stderr,
        )
    return stop.exit_status if isinstance(stop, Stopped) else 130
