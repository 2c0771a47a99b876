"""The costs of a plan on this machine or on a named device."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from wsss_bench.bench.visible_gpus import visible_gpus
from wsss_bench.plan.costs.calibration import read_probes
from wsss_bench.plan.costs.devices import CPU, DEFAULT, GPUS, SMALL_CARD, Device, gpu_of_this_machine
from wsss_bench.plan.costs.estimates import Estimates
from wsss_bench.plan.plan import Plan, Stage, StageFolder


class PlannedCosts:
    """Finds the device of a plan, and what was measured on this machine.

    Args:
        plan: The plan.
        runs: Folder of all results.
        named: The device that the user names; None for this machine.
        memory: GPU memory in GiB that trainings are compared with; None for that of the device.

    Attributes:
        machine: Name of this machine's device, under which probes are stored.
        estimates: The costs of the stages.
    """

    def __init__(
        self, plan: Plan, runs: Path, named: Device | None = None, memory: float | None = None
    ) -> None:
        self._asks_for_gpu = any(
            stage.config.get("trainer", {}).get("accelerator", "cpu") != "cpu"
            for stage in plan.stages.values()
        )
        gpus = visible_gpus() if self._asks_for_gpu else []
        own = gpu_of_this_machine() if gpus else None
        self.machine = own.name if own else f"{'GPU' if gpus else 'CPU'} of {socket.gethostname()}"
        self._assumed = self._asks_for_gpu and own is None and named is None
        device = named or own or (GPUS[DEFAULT] if self._asks_for_gpu else CPU)
        self._device, self._memory = device, memory
        self.estimates = Estimates(
            plan,
            StageFolder(runs),
            device,
            len(gpus),
            named=named is not None,
            probes=read_probes(runs, self.machine),
        )

    def notes(self, stages: Sequence[Stage]) -> Iterator[str]:
        """What the user should know about the costs of the stages that will run."""
        if self._assumed and stages:
            yield (
                "no GPU of a known kind is visible: times by the model are those of one "
                f"{self._device.name}, memory is compared with {self._limit:g} GiB; --on and --memory name "
                "another, --calibrate measures"
            )
        trainings = [stage for stage in stages if stage.command == "fit"]
        unknown = [stage.name for stage in trainings if self.estimates.cost(stage).seconds is None]
        if unknown:
            yield (
                f"the cost of {len(unknown)} training(s) (?) is unknown, the first {unknown[0]}: own methods "
                "and other architectures; --calibrate measures a step of them"
            )
        yield from self.estimates.too_large({stage.fingerprint: stage for stage in stages}, self._limit)

    @property
    def _limit(self) -> float:
        if self._memory is not None:
            return self._memory
        return SMALL_CARD if self._assumed else self._device.memory or SMALL_CARD
