"""`wsss-bench weights voc`: fetches the pretrained weights of all stages of an experiment into the cache.

For machines whose stages have no network: run it once on one that has, with the same `HF_HOME`.
"""

from __future__ import annotations

import sys

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.errors import explain
from wsss_bench.plan.plan import distinct
from wsss_bench.plan.planner import make_plan


def main(argv: list[str]) -> int:
    """Fetch what is missing; 1 if something could not be fetched."""
    parser = LineParser(
        prog="wsss-bench weights", description="Fetch the pretrained weights of all stages of an experiment."
    )
    add_matrix_arguments(parser)
    options = parser.parse_args(argv)
    plan = make_plan(options.experiment, options.runs, options.configs, options.methods, options.set)
    from wsss_bench.stages.hub_weights import weights_of  # imports torch

    found = {
        weights: None
        for stage in distinct(plan.stages.values())
        for weights in weights_of(stage.config.get("model"))
    }
    failed = 0
    for weights in found:
        if weights.is_here:
            print(f"{weights}: here", flush=True)
            continue
        try:
            weights.fetch()
            print(f"{weights}: fetched", flush=True)
        except Exception as error:
            failed += 1
            reason = explain(error) or f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            print(f"{weights}: not fetched: {reason}", file=sys.stderr)
    print(f"{len(found) - failed} of {len(found)} weights of {plan.experiment} are on this machine")
    return 1 if failed else 0
