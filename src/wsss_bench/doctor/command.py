"""`wsss-bench doctor [EXPERIMENT]`: what a machine can do, one line for each check."""

from __future__ import annotations

from functools import partial

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.plan.planner import make_plan

EXIT_STATUS = {"ok": 0, "left out": 0, "warning": 0, "error": 1}


def main(argv: list[str]) -> int:
    """Print a verdict for each check; 1 if there is an error among them."""
    parser = LineParser(
        prog="wsss-bench doctor",
        description="Check GPUs, driver, bfloat16, communication, cores, disk and CRF; with an experiment, "
        "its weights and data too.",
    )
    add_matrix_arguments(parser, optional=True)
    options = parser.parse_args(argv)
    plan = None
    if options.experiment:
        plan = make_plan(options.experiment, options.runs, options.configs, options.methods, options.set)
    from wsss_bench.doctor import experiment, machine  # import torch
    from wsss_bench.doctor.verdict import Check, verdict_of

    checks: dict[str, Check] = {
        "packages": machine.packages,
        "GPUs": machine.gpus,
        "bfloat16": machine.bf16,
        "all-reduce": machine.all_reduce,
        "cores": machine.cores,
        "disk": partial(machine.disk, options.runs),
        "CRF": machine.crf,
    }
    if plan is not None:
        checks["weights"] = partial(experiment.weights, plan)
        checks |= {f"data {name}": partial(experiment.data, file) for name, file in plan.datasets.items()}
    kinds = []
    for name, check in checks.items():
        verdict = verdict_of(check)
        kinds.append(verdict.kind)
        print(f"  {verdict.kind:<9} {name}: {verdict.words}", flush=True)
    errors, warnings = kinds.count("error"), kinds.count("warning")
    print(f"{errors} error(s), {warnings} warning(s)")
    return max(EXIT_STATUS[kind] for kind in kinds)
