"""What stages run on, and how much of it a stage needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wsss_bench.plan.plan import Stage


@dataclass(frozen=True)
class Machine:
    """The resources that stages run on.

    Args:
        jobs: Number of stages on cores that run at a time, where a stage with several ranks counts once for
            each rank; and number of stages on GPUs that run beside them.
        gpus: Names of the GPUs that are given to stages.
        most_on_gpus: Number of stages on GPUs, where it is not that of `jobs`.
        kinds: The names of the GPUs that stages with a number of GPUs on each of a number of nodes run on,
            where GPUs are of several kinds.
    """

    jobs: int
    gpus: tuple[str, ...] = ()
    most_on_gpus: int | None = None
    kinds: Callable[[int, int], tuple[str, ...]] | None = None

    @property
    def jobs_on_gpus(self) -> int:
        """Number of stages on GPUs that run at a time, at most."""
        return self.jobs if self.most_on_gpus is None else self.most_on_gpus

    def gpus_for(self, stage: Stage) -> tuple[str, ...]:
        """The GPUs from which a stage gets its own."""
        return self.kinds(gpus_of(stage, len(self.gpus)), nodes_of(stage)) if self.kinds else self.gpus


def nodes_of(stage: Stage) -> int:
    """Number of nodes that a stage runs on at the same time."""
    return int((stage.config.get("trainer") or {}).get("num_nodes") or 1)


def ranks_of(stage: Stage, gpus: int) -> int:
    """Number of processes of the trainer of a stage on all nodes; 1 for a stage without a trainer."""
    trainer = stage.config.get("trainer") or {}
    devices = trainer.get("devices", 1)
    if isinstance(devices, list):
        devices = len(devices)
    elif devices in ("auto", -1, "-1"):
        devices = max(gpus, 1) if trainer.get("accelerator") in ("gpu", "cuda") else 1
    return int(devices) * nodes_of(stage)


def gpus_of(stage: Stage, gpus: int) -> int:
    """Number of GPUs of each node that a stage uses: as its trainer says, or one for a refiner."""
    trainer = stage.config.get("trainer") or stage.config
    if trainer.get("accelerator") not in ("gpu", "cuda"):
        return 0
    return ranks_of(stage, gpus) // nodes_of(stage)


def gpus_on_all_nodes(stage: Stage, gpus: int) -> int:
    """Number of GPUs that a stage takes."""
    return gpus_of(stage, gpus) * nodes_of(stage)


def slots_of(stage: Stage, machine: Machine) -> int:
    """How many of the machine's jobs on cores a stage takes: none if it has GPUs."""
    return 0 if gpus_of(stage, len(machine.gpus)) else ranks_of(stage, 1)
