"""`wsss-bench bench experiments/mini.yaml`: plan, run the missing stages, print the table."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from string import Template

from rich.console import Console

from wsss_bench.artifacts.disk import naming_full_disk
from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.bench.launchers import Launcher, LocalLauncher, visible_gpus
from wsss_bench.bench.progress import LiveReporter, PlainReporter
from wsss_bench.bench.runner import Failure, Machine, Reporter, Runner, gpus_of, locked
from wsss_bench.bench.signals import Stopped, stop_signals
from wsss_bench.bench.stalls import STALLED_MINUTES
from wsss_bench.bench.validate import check_stages, validate
from wsss_bench.plan.plan import Plan, StageFolder, describe, distinct
from wsss_bench.plan.planner import make_plan
from wsss_bench.report.command import publish


def main(argv: list[str]) -> int:
    """Run a benchmark matrix.

    Returns:
        0 if all stages are complete, 1 if one failed; after a signal 128 plus its number: 130 for Ctrl-C, 143
        for `kill`, 129 if the terminal was closed.
    """
    parser = argparse.ArgumentParser(
        prog="wsss-bench bench", description="Run a benchmark matrix and print its table."
    )
    parser.add_argument("experiment", type=Path, help="experiment file, such as experiments/mini.yaml")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of all results (default: runs)"
    )
    parser.add_argument(
        "--configs", type=Path, help="folder of configurations (default: the one above the experiment)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan with the estimated time and stop"
    )
    parser.add_argument(
        "--jobs", type=int, default=None, help="stages at a time (default: one per core, or one per GPU)"
    )
    parser.add_argument(
        "--stalled",
        type=float,
        default=STALLED_MINUTES,
        metavar="MINUTES",
        help="report a stage without progress for so long, and again after twice as long, and so on; "
        f"it is not stopped (default: {STALLED_MINUTES:g})",
    )
    options = parser.parse_args(argv)
    if options.jobs is not None and options.jobs < 1:
        parser.error(f"--jobs: expected 1 or more, got {options.jobs}")
    if not 0 < options.stalled < math.inf:
        parser.error(f"--stalled: expected a number of minutes above 0, got {options.stalled:g}")
    plan = make_plan(options.experiment, options.runs, options.configs)
    if options.dry_run:
        print_plan(plan, options.runs)
        return 0
    return run_bench(plan, options.runs, options.jobs, stalled_minutes=options.stalled)


def print_plan(plan: Plan, runs: Path) -> None:
    """Print the stages of a plan with their states and estimated times."""
    print(f"plan of {plan.experiment} in {runs}/stages:")
    for line in describe(plan, StageFolder(runs)):
        print(line)
    for note in plan.notes:
        print(f"note: {note}")
    sys.stdout.flush()


def run_bench(
    plan: Plan,
    runs: Path,
    jobs: int | None = None,
    launcher: Launcher | None = None,
    stalled_minutes: float = STALLED_MINUTES,
) -> int:
    """Run the missing stages of `plan`, then write and print the table.

    Args:
        plan: The plan.
        runs: Folder of all results.
        jobs: Number of stages that run at a time; by default that of the experiment, or one per core or GPU.
        launcher: Starts the stages. Tests give one for stages of their own; the configurations are not
            checked then.
        stalled_minutes: Minutes without progress after which a running stage is reported.

    Returns:
        The exit status, as of `main`.

    Raises:
        DiskFull: there is no space left in `runs`.
        FolderDeleted: `runs` was deleted while stages ran.
    """
    failures: list[Failure] = []
    with locked(runs), naming_full_disk(runs), stop_signals():
        try:
            prepare(plan)
            print_plan(plan, runs)
            missing = [stage for stage in plan.stages.values() if not is_complete(stage.path)]
            if missing:
                machine = find_machine(plan, jobs or plan.jobs)
                if launcher is None:
                    print("loading packages, checking the configurations (about 20 s) ...", flush=True)
                    launcher = LocalLauncher()
                    launcher.warm_up()
                    validate(distinct(missing), LocalLauncher(check_stages))
                failures = run_stages(plan, runs, machine, launcher, stalled_minutes)
            publish(plan, runs)
        except KeyboardInterrupt as stop:
            with suppress(OSError):  # the terminal may be gone
                print(
                    f"\nstopped; nothing finished is lost, the same command goes on: {resume_command()}",
                    file=sys.stderr,
                )
            return stop.exit_status if isinstance(stop, Stopped) else 130
    print_failures(plan, failures)
    return 1 if failures else 0


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
            if command_line(arguments) != 0:
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
    plan: Plan, runs: Path, machine: Machine, launcher: Launcher, stalled_minutes: float
) -> list[Failure]:
    """Run the missing stages; progress is a live view on a terminal and plain lines elsewhere."""
    console = Console()
    with ExitStack() as stack:
        reporter: Reporter = (
            stack.enter_context(LiveReporter(console)) if console.is_terminal else PlainReporter()
        )
        return Runner(plan, StageFolder(runs), machine, launcher, reporter, stalled_minutes).run()


def resume_command() -> str:
    """The command line that was given."""
    return shlex.join(["wsss-bench", *sys.argv[1:]])
