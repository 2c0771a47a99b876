"""The order in which stages are started: the longest chain of stages first.

A stage that much waits for should not wait itself, and the last stages of a bench should not be long ones:
then cores or GPUs have nothing to do while one of them ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from wsss_bench.plan.plan import Plan, Stage


def by_longest_chain(plan: Plan, seconds: Callable[[Stage], float | None]) -> list[Stage]:
    """The stages of a plan by the time of the longest chain of stages that begins with each, longest first.

    A stage of unknown length may be the longest of all. Of equal chains the plan's order holds.

    Args:
        plan: The plan; its stages are ordered so that inputs come before those that read them.
        seconds: Estimated wall seconds of a stage; None if unknown.
    """
    chains: dict[str, float] = {}
    after: dict[str, float] = {}  # the longest chain among the readers of a stage
    for stage in reversed(plan.stages.values()):
        own = seconds(stage)
        chains[stage.fingerprint] = (math.inf if own is None else own) + after.get(stage.fingerprint, 0.0)
        for key in stage.inputs.values():
            after[key] = max(after.get(key, 0.0), chains[stage.fingerprint])
    return sorted(plan.stages.values(), key=lambda stage: -chains[stage.fingerprint])
