"""The plan as text: what is done, what will run, and what has changed since it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping

from wsss_bench.artifacts.disk import size_text
from wsss_bench.artifacts.layout import shortened
from wsss_bench.plan.costs.estimates import GIB, Estimates, StageCost
from wsss_bench.plan.plan import Plan, StageFolder, clock
from wsss_bench.plan.state import CODE_UNKNOWN, STALE, StageState, states_of

WORDS = {
    "new": "new",
    "failed": "failed before, tried again",
    "resumes": "interrupted, resumes",
    "pruned": "pruned, made again for what reads it",
}


def describe(
    plan: Plan,
    folder: StageFolder,
    states: Mapping[str, StageState] | None = None,
    again: Container[str] = (),
    estimates: Estimates | None = None,
) -> Iterator[str]:
    """The plan as text: a line for each stage with its state and what it will cost, notes, the total.

    Args:
        plan: The plan.
        folder: Earlier runs, for the times.
        states: States of the stages; read now by default.
        again: Fingerprints of the stages that are run again on request.
        estimates: Costs of the stages; by default those on the CPU.
    """
    states = states_of(plan) if states is None else states
    estimates = estimates or Estimates(plan, folder)
    costs = []
    for key, stage in plan.stages.items():
        state = states[key]
        cost = None
        if state.progress != "complete" or key in again:
            cost = estimates.cost(stage)
            costs.append(cost)
        why = _in_words(state, key in again)
        yield f"  {stage.kind:<9}{stage.title:<36} {key[:8]}  {_cost(cost)}  {why}"
    kept = [states[key] for key in plan.stages if key not in again]
    yield from _notes(kept)
    done = len(plan.stages) - len(costs)
    summary = f"{len(plan.stages)} stages: {done} complete, {len(costs)} to run"
    for change in STALE:
        number = sum(change in state.changes for state in kept)
        summary += f", {number} {change}" if number else ""
    yield f"{summary}{_total(costs)}"


def _cost(cost: StageCost | None) -> str:
    """The columns of a stage: disk, files, GPU memory, where its time is from, and its time."""
    if cost is None:
        return f"{'':>9} {'':>12} {'':>8} {'':>10} {'':>12}"
    disk = "" if cost.disk is None else size_text(cost.disk)
    files = "" if cost.files is None else f"{cost.files} files"
    memory = "" if cost.memory is None else f"{cost.memory / GIB:.1f} GiB"
    duration = "?" if cost.seconds is None else clock(cost.seconds)
    return f"{disk:>9} {files:>12} {memory:>8} {cost.origin:>10} {duration:>12}"


def _total(costs: list[StageCost]) -> str:
    """Time of all stages that will run, and how many of them are known from where."""
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    unknown = len(costs) - len(known)
    parts = [clock(sum(known))] if known else []
    parts += [f"{unknown} of unknown length (?)"] if unknown else []
    if not parts:
        return ""
    origins = Counter(cost.origin for cost in costs if cost.origin)
    said = f" ({', '.join(f'{number} {origin}' for origin, number in origins.items())})" if origins else ""
    return f", stage time {' + '.join(parts)}{said}{_total_size(costs)}"


def _total_size(costs: list[StageCost]) -> str:
    disk = [cost.disk for cost in costs if cost.disk is not None]
    if not disk:
        return ""
    files = sum(cost.files or 0 for cost in costs)
    of = "" if len(disk) == len(costs) else f" of {len(disk)} stages, the others unknown"
    return f", {size_text(sum(disk))} in {files} files{of}"


def _in_words(state: StageState, again: bool) -> str:
    if again:
        return "run again" if state.progress == "new" else f"{state.progress}, removed and run again"
    if state.progress == "damaged":
        return f"damaged, run again: {shortened(state.damaged, 3)}"
    changes = [
        f"{change}: {shortened(state.changes[change], 3)}" for change in STALE if change in state.changes
    ]
    if state.progress == "complete":
        pruned = ["pruned"] if state.pruned else []
        return ", ".join(["complete", *pruned, *(changes or ["skipped"])])
    return ", ".join([WORDS[state.progress], *changes])


def _notes(states: list[StageState]) -> Iterator[str]:
    """What the user should know about results that are kept although something has changed."""
    if any(state.is_stale for state in states):
        yield (
            "  what has changed is kept as it is; `--again changed` (or ROW, or STAGE) runs it again, with "
            "everything that reads it"
        )
    unknown = sum(CODE_UNKNOWN in state.changes for state in states)
    if unknown:
        yield (
            f"  the code that {unknown} stages ran is unknown: an earlier version made them, or their own "
            "modules are not on this machine; they are kept"
        )
