"""A large matrix on paper: stages, GPU-hours, files and bytes, and how long it takes on many GPUs.

Nothing runs. Costs are those of the model for one GPU (`wsss-bench bench ... --dry-run --on`), the time on
many GPUs is that of the stages started one after the other, as the runner starts them. The second part
measures what the bench itself does for each stage, on stand-ins for thousands of stages.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import yaml

from wsss_bench.artifacts.layout import PROBABILITIES
from wsss_bench.bench.order import by_longest_chain
from wsss_bench.bench.resources import Machine, gpus_of
from wsss_bench.bench.running import Snapshot
from wsss_bench.bench.time_left import TimeLeft
from wsss_bench.plan.costs.data_facts import facts_of
from wsss_bench.plan.costs.devices import GPUS
from wsss_bench.plan.costs.estimates import Estimates
from wsss_bench.plan.plan import Plan, Stage, StageFolder
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.sizes import stage_size

ROOT = Path(__file__).parents[1]
COUNTS = (1, 8, 64)
RANDOM_SEEDS = 3


def plan_of(experiment: str, folder: Path, random_seeds: int) -> Plan:
    """An experiment with more random seeds; its results would be in `folder`."""
    content = yaml.safe_load((ROOT / "experiments" / f"{experiment}.yaml").read_text())
    file = folder / f"{experiment}-{random_seeds}.yaml"
    file.write_text(yaml.safe_dump(content | {"random_seeds": list(range(random_seeds))}))
    return make_plan(file, folder, configs=ROOT / "configs")


def scale_lines(experiments: list[str], device: str, folder: Path) -> Iterator[list[str]]:
    """Head and lines of the table."""
    yield [
        "",
        "stages",
        "GPU-hours",
        "files",
        "GB",
        "of these probabilities",
        *(f"hours on {count} GPU{'s' * (count > 1)}" for count in COUNTS),
    ]
    for experiment in experiments:
        plan = plan_of(experiment, folder, RANDOM_SEEDS)
        estimates = Estimates(plan, StageFolder(folder), GPUS[device], 1, named=True)
        costs = {key: estimates.cost(stage) for key, stage in plan.stages.items()}
        seconds = {key: cost.seconds or 0.0 for key, cost in costs.items()}
        # a stage that shares a network with others runs alone here, so that the sum holds
        ordered = by_longest_chain(plan, partial(_seconds_of, seconds))
        stages = [replace(stage, shares="") for stage in ordered]
        on_gpus = sum(seconds[one.fingerprint] for one in stages if gpus_of(one, 1))
        hours = [hours_on(count, stages, seconds) for count in COUNTS]
        files = sum(cost.files or 0 for cost in costs.values())
        size = sum(cost.disk or 0 for cost in costs.values())
        probabilities = sum(probabilities_of(stage, plan) for stage in stages if stage.kind == "predict")
        yield [
            f"`{experiment}`, {RANDOM_SEEDS} random seeds",
            str(len(stages)),
            f"{on_gpus / 3600:.0f}",
            f"{files:,}".replace(",", " "),
            f"{size / 1e9:.0f}",
            f"{probabilities / 1e9:.0f}",
            *(f"{one:.0f}" if one >= 10 else f"{one:.1f}" for one in hours),
        ]


def probabilities_of(prediction: Stage, plan: Plan) -> int:
    """Bytes that a prediction writes for its crf stage alone."""
    data = facts_of(prediction.config, plan.datasets.values())
    if data is None:
        return 0
    images, pixels = data.counts[prediction.config["split"]], 1e6 * data.megapixels
    whole, rest = (stage_size(prediction, images, pixels, without) for without in ((), (PROBABILITIES,)))
    return whole.bytes - rest.bytes


def hours_on(count: int, stages: list[Stage], seconds: dict[str, float]) -> float:
    """Hours of a matrix on some GPUs, with as many jobs on cores beside them."""
    machine = Machine(count, tuple(str(number) for number in range(count)))
    left = TimeLeft(machine, lambda one: seconds[one.fingerprint])
    return left.left(Snapshot([], stages, [], len(stages))).seconds / 3600


def _seconds_of(seconds: dict[str, float], stage: Stage) -> float:
    return seconds[stage.fingerprint]


def own_seconds(experiment: str, random_seeds: int, folder: Path) -> dict[str, float]:
    """What the bench itself takes for a plan: seconds of planning, and of one look at all waiting stages."""
    began = time.perf_counter()
    plan = plan_of(experiment, folder, random_seeds)
    planning = time.perf_counter() - began
    looks = []
    for _ in range(5):
        began = time.perf_counter()
        for stage in plan.stages.values():
            for key in stage.inputs.values():
                (plan.stages[key].path / "stage.json").is_file()
        looks.append(time.perf_counter() - began)
    return {"stages": len(plan.stages), "planning": planning, "one look": statistics.median(looks)}


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", default="a100", choices=list(GPUS), help="the GPU")
    device = parser.parse_args().on
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for line in scale_lines(["voc", "coco"], device, folder):
            print("| " + " | ".join(line) + " |")
        for random_seeds in (3, 30, 100):
            print({key: round(value, 3) for key, value in own_seconds("voc", random_seeds, folder).items()})


if __name__ == "__main__":
    main()
