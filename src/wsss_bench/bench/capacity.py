"""The cores and GPUs of a machine that are free for the next stage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from wsss_bench.bench.gpu_pool import GPUPool
from wsss_bench.bench.resources import Machine, gpus_on_all_nodes, slots_of
from wsss_bench.bench.running import Active
from wsss_bench.plan.plan import Stage


class Capacity:
    """What fits on a machine beside the processes that run.

    Args:
        machine: Its cores and GPUs.
        active: The processes that run now; the caller adds and removes them.
        seconds: Estimated wall seconds of a stage, None if unknown.
    """

    def __init__(
        self, machine: Machine, active: Sequence[Active], seconds: Callable[[Stage], float | None]
    ) -> None:
        self._machine = machine
        self._active = active
        self._seconds = seconds
        self._pools: dict[tuple[str, ...], GPUPool] = {}

    def pool(self, stage: Stage) -> GPUPool:
        """The GPUs from which a stage gets its own."""
        names = self._machine.gpus_for(stage)
        return self._pools.setdefault(names, GPUPool(names))

    def take_gpus(self, stage: Stage) -> tuple[str, ...]:
        """The GPUs of a stage that fits; none for a stage on cores."""
        return self.pool(stage).take(stage.fingerprint, self._gpus(stage))

    def fits(self, stage: Stage) -> bool:
        """Whether there is a place for a stage now."""
        if wanted := self._gpus(stage):
            on_gpus = sum(1 for active in self._active if active.gpus)
            free = len(self.pool(stage).free_for(stage.fingerprint, wanted))
            return on_gpus < self._machine.jobs_on_gpus and wanted <= free
        used = sum(active.slots for active in self._active)
        return not used or used + slots_of(stage, self._machine) <= self._machine.jobs

    def lacking(self, stage: Stage) -> int:
        """How many GPUs a stage needs beyond all that there are for it."""
        return max(0, self._gpus(stage) - len(self.pool(stage).names))

    def reservation(self, stage: Stage) -> float | None:
        """When a stage of several GPUs can start at the latest, by the estimates of what runs.

        Until then no other stage gets a GPU that would hold it for longer: else single GPUs would go on being
        taken as soon as they are free. On `time.monotonic`; None for a stage that waits for one GPU, or for
        none.
        """
        wanted = self._gpus(stage)
        if wanted < 2:
            return None
        pool = self.pool(stage)
        now, free = time.monotonic(), len(pool.free_for(stage.fingerprint, wanted))
        ends = []
        for active in self._active:
            if self.pool(active.stage) is not pool:
                continue
            seconds = [self._seconds(one) for one in active.stages]
            known = [one for one in seconds if one is not None]
            ends += [max(now, active.started + sum(known))] * len(active.gpus)
        ends.sort()
        return ends[min(wanted - free, len(ends)) - 1] if ends and wanted > free else now

    def ends_before(self, stage: Stage, moment: float) -> bool:
        """Whether a stage that starts now needs no GPU, or will have given it back by then."""
        if moment == math.inf or not self._gpus(stage):
            return True
        seconds = self._seconds(stage)
        return seconds is not None and time.monotonic() + seconds <= moment

    def _gpus(self, stage: Stage) -> int:
        return gpus_on_all_nodes(stage, len(self._machine.gpus))
