"""`wsss-bench bench EXPERIMENT --calibrate`: measures a step of each distinct training on this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import read_json, write_json
from wsss_bench.artifacts.layout import LOG_FILE
from wsss_bench.bench.launchers import Job, LocalLauncher, run_to_end
from wsss_bench.bench.planned_costs import PlannedCosts
from wsss_bench.bench.running import tail
from wsss_bench.bench.visible_gpus import visible_gpus
from wsss_bench.plan.costs.calibration import Probe, add_probes, probe_key
from wsss_bench.plan.plan import Plan


def calibrate(plan: Plan, runs: Path) -> None:
    """Probe the distinct trainings of a plan, one after the other, and store what they took.

    Args:
        plan: The plan.
        runs: Folder of all results.

    Raises:
        ValueError: the probes ended without an answer.
    """
    costs = PlannedCosts(plan, runs)
    trainings: dict[str, dict[str, Any]] = {}
    for stage in plan.stages.values():
        if stage.command == "fit":
            key, ranks = probe_key(stage.config), costs.estimates.run(stage.config).ranks
            trainings.setdefault(
                key, {"key": key, "name": stage.name, "config": stage.config, "ranks": ranks}
            )
    if not trainings:
        print("nothing to calibrate: no stage trains")
        return
    print(f"calibrating {len(trainings)} trainings on {costs.machine}, 20 steps each ...", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        question, answer = folder / "trainings.json", folder / "probes.json"
        write_json(question, list(trainings.values()))
        # the loading processes of a stage beside which the other GPUs have theirs
        workers = max(1, len(os.sched_getaffinity(0)) // max(1, len(visible_gpus())))
        job = Job([str(question), str(answer)], folder, workers=workers)
        status = run_to_end(LocalLauncher(probe_trainings), job)
        if status != 0 or not answer.is_file():
            raise ValueError(f"the probes ended with status {status}:\n{tail(folder / LOG_FILE)}")
        content = read_json(answer)
    for line in content["lines"]:
        print(f"  {line}", flush=True)
    add_probes(runs, costs.machine, {key: Probe(**probe) for key, probe in content["probes"].items()})


def probe_trainings(arguments: list[str]) -> int:
    """Probe the trainings of a JSON file and write the results to another. Runs in a process of its own."""
    from wsss_bench.stages.probe import probe_all  # imports torch

    question, answer = map(Path, arguments)
    lines: list[str] = []
    probes = probe_all(read_json(question), question.parent / "stages", lines.append)
    write_json(answer, {"lines": lines, "probes": probes})
    return 0
