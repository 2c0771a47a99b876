"""What is checked of all stages that will run, before the first one starts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from wsss_bench.bench.batches import check_batches
from wsss_bench.bench.disk_space import check_space, space_of
from wsss_bench.bench.launchers import LocalLauncher
from wsss_bench.bench.resources import gpus_of
from wsss_bench.bench.validate import Depth, check_stages, source_of, validate
from wsss_bench.bench.visible_gpus import visible_gpus
from wsss_bench.plan.plan import Plan, Stage, distinct


def print_space(stages: Sequence[Stage], runs: Path, pruned: Collection[str] = ()) -> None:
    """Print what the stages take on the disk, `pruned` kinds of files only for a while.

    Raises:
        ValueError: it is more than is free.
    """
    if stages:
        print(f"note: {check_space(space_of(stages, pruned), runs)}", flush=True)


def check_stages_to_run(
    stages: Sequence[Stage],
    depth: Callable[[Stage], Depth] = lambda stage: "build",
    methods: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Check the configurations of stages in a process of its own.

    Args:
        stages: The stages that will run.
        depth: How a stage is checked.
        methods: As in `validate`.

    Raises:
        ValueError: all messages of all stages.
        ConfigError: trainings whose batches the ranks cannot share.
    """
    check_batches(stages, len(visible_gpus()))
    if stages:
        print("loading packages, checking the configurations (about 20 s) ...", flush=True)
        validate(distinct(stages), LocalLauncher(check_stages), depth, methods)


def depth_of_dry_run(plan: Plan) -> Callable[[Stage], Depth]:
    """How a dry run checks a stage: it may run where there are no GPUs, and before data is made."""
    made = [data.source for data in plan.datasets.values() if data.protocol.prepare]
    gpus = bool(visible_gpus())

    def depth(stage: Stage) -> Depth:
        if gpus_of(stage, 1) and not gpus:
            return "parse"
        return "build if there is data" if source_of(stage.config) in made else "build"

    return depth
