"""The stages of a plan that have to run, and the removal of what earlier runs left of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.holder import Holder
from wsss_bench.artifacts.layout import find_manifest
from wsss_bench.artifacts.locks import SILENT_SECONDS, LockHeld, Locks, held_message
from wsss_bench.artifacts.pruning import pruned_folders
from wsss_bench.artifacts.stage_files import damaged_files, remove_stage, reopen, sweep
from wsss_bench.plan.plan import Plan, Stage
from wsss_bench.plan.state import StageState, damage_of


def open_again(plan: Plan, states: Mapping[str, StageState], renewed: Sequence[Stage], locks: Locks) -> None:
    """Remove the stages that are run again, open the pruned ones that are read, and remove damaged files.

    Those that read come before those that they read: if the bench is killed in between, no stage stands
    beside an input that it was not made from. Damaged and pruned stages that another living process works in
    are left to it.

    Raises:
        LockHeld: another living process works in a stage that is to be run again; nothing was removed.
    """
    if plan.stages:
        sweep(next(iter(plan.stages.values())).path.parent)
    there = [stage for stage in reversed(renewed) if stage.path.is_dir()]
    try:
        for stage in there:
            if (holder := _take(stage, locks)) is not None:
                raise LockHeld(f"nothing was removed, since {held_message(stage.path, holder)}")
        for stage in there:
            remove_stage(stage.path)
    finally:
        for stage in there:
            locks.release(stage.path)
    for key, stage in plan.stages.items():
        opened = states[key].progress in ("damaged", "pruned") and stage.path.is_dir()
        if opened and _take(stage, locks) is None:
            if is_complete(stage.path):  # else another bench has opened it since the plan was made
                damaged = damage_of(stage, find_manifest(stage.path) or None)
                damaged += damaged_files(stage.path)
                if damaged or pruned_folders(stage.path):
                    reopen(stage.path, damaged)
            locks.release(stage.path)


def _take(stage: Stage, locks: Locks) -> Holder | None:
    """Take the lock of a stage; a holder on another machine is waited for until it is known to live."""
    holder = locks.take(stage.path)
    if holder is None or holder.is_here:
        return holder
    print(
        f"{stage.name} is locked by {holder}; waiting for a sign of life, {SILENT_SECONDS / 60:g} minutes "
        "at most",
        flush=True,
    )
    return locks.take_or_outlive(stage.path)


def stages_to_run(plan: Plan, states: Mapping[str, StageState], renewed: Sequence[Stage]) -> list[Stage]:
    """The stages that are not complete or are run again on request."""
    wanted = {stage.fingerprint for stage in renewed}
    return [
        stage for key, stage in plan.stages.items() if key in wanted or states[key].progress != "complete"
    ]
