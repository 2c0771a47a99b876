"""`wsss-bench bench experiments/mini.yaml`: plan, run the missing stages, print the table."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from string import Template

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.bench.calibrate import calibrate
from wsss_bench.bench.cluster import check_nodes, read_cluster
from wsss_bench.bench.data_digests import look_at_data
from wsss_bench.bench.first_checks import check_stages_to_run, depth_of_dry_run, print_space
from wsss_bench.bench.planned_costs import PlannedCosts
from wsss_bench.bench.prune import KINDS
from wsss_bench.bench.run_bench import print_plan, run_bench, unread_note
from wsss_bench.bench.signals import Stopped, stop_signals, stopped
from wsss_bench.bench.stages_to_run import stages_to_run
from wsss_bench.bench.stalls import STALLED_MINUTES
from wsss_bench.bench.validate import methods_of
from wsss_bench.closed_pipe import going_on_unread
from wsss_bench.plan.again import stages_to_run_again, with_pruned_inputs
from wsss_bench.plan.costs.devices import GPUS, named_device
from wsss_bench.plan.plan import Plan
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.state import states_of
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
