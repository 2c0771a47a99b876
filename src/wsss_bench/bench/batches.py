"""Batch sizes against the number of ranks, for all trainings of a plan before the first one starts."""

from __future__ import annotations

from collections.abc import Iterable

from wsss_bench.artifacts.data_reads import BATCH_SIZE
from wsss_bench.artifacts.layout import shortened
from wsss_bench.bench.resources import ranks_of
from wsss_bench.plan.plan import Stage
from wsss_bench.plan.schema import ConfigError


def check_batches(stages: Iterable[Stage], gpus: int) -> None:
    """Check that the ranks of each training can share its batches.

    Args:
        stages: The stages that will run.
        gpus: Number of visible GPUs, for trainers that take all of them.

    Raises:
        ConfigError: all trainings that cannot, with the sizes and numbers of devices that fit.
    """
    found: dict[tuple[int, int], list[str]] = {}
    for stage in stages:
        if stage.command == "fit":
            size = int(stage.config["data"].get("global_batch_size", BATCH_SIZE))
            ranks = ranks_of(stage, gpus)
            if size % ranks:
                found.setdefault((size, ranks), []).append(stage.name)
    if found:
        lines = [f"{shortened(names)}: {_sentence(*key)}" for key, names in found.items()]
        raise ConfigError(
            "nothing was started, because these trainings cannot share their batches:\n  "
            + "\n  ".join(lines)
        )


def _sentence(size: int, ranks: int) -> str:
    below, above = size // ranks * ranks, -(-size // ranks) * ranks
    sizes = " or ".join(str(fit) for fit in (below, above) if fit)
    devices = ", ".join(str(n) for n in range(1, size + 1) if size % n == 0)
    return (
        f"data.global_batch_size {size} counts the images of all ranks and does not divide by {ranks} ranks; "
        f"set {sizes}, or a number of devices that divides {size}: {devices}"
    )
