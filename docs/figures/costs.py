"""What the cost model says of a finished experiment, against what its stages took."""

from __future__ import annotations

import tempfile
from pathlib import Path

from figures.results import Results
from wsss_bench.artifacts.layout import find_manifest
from wsss_bench.plan.costs.estimates import Estimates
from wsss_bench.plan.plan import Stage, StageFolder

KINDS = ("train", "seed", "segment", "predict", "crf", "refine", "evaluate")


def ratios(results: Results) -> list[list[str]]:
    """The lowest and the highest ratio of modelled seconds to recorded CPU seconds, by kind of stage."""
    modelled, recorded = _modelled(results), _recorded(results, "cpu_seconds")
    cells = []
    for kind in KINDS:
        found = sorted(
            modelled[stage.fingerprint] / recorded[stage.fingerprint]
            for stage in results.plan.stages.values()
            if stage.kind == kind
        )
        cells.append(f"{found[0]:.2f} to {found[-1]:.2f}")
    return [list(KINDS), cells]


def totals(results: Results) -> dict[str, str]:
    """Seconds of all stages by the model, of CPU and of the clock; CPU time in minutes, too."""
    sums = {
        "model_seconds": sum(_modelled(results).values()),
        "cpu_seconds": (cpu := sum(_recorded(results, "cpu_seconds").values())),
        "wall_seconds": sum(_recorded(results, "wall_seconds").values()),
        "cpu_minutes": cpu / 60,
    }
    return {f"{results.plan.experiment}.{name}": f"{value:.0f}" for name, value in sums.items()}


def _recorded(results: Results, key: str) -> dict[str, float]:
    return {one: float(find_manifest(stage.path)[key]) for one, stage in results.plan.stages.items()}


def _modelled(results: Results) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as nothing_recorded:
        estimates = Estimates(results.plan, StageFolder(Path(nothing_recorded)))
        return {one: _seconds(estimates, stage) for one, stage in results.plan.stages.items()}


def _seconds(estimates: Estimates, stage: Stage) -> float:
    seconds = estimates.cost(stage).seconds
    if seconds is None:
        raise ValueError(f"no costs of {stage.name} were measured: run benchmarks/costs/measure.py")
    return seconds
