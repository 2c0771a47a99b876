"""The plan as text: what is done, what will run, and what has changed since it ran."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from wsss_bench.artifacts.layout import shortened
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
) -> Iterator[str]:
    """The plan as text: one line per stage with its state and its time in an earlier run, notes, the total.

    Args:
        plan: The plan.
        folder: Earlier runs, for the times.
        states: States of the stages; read now by default.
        again: Fingerprints of the stages that are run again on request.
    """
    states = states_of(plan) if states is None else states
    estimates = []
    for key, stage in plan.stages.items():
        state = states[key]
        runs = state.progress != "complete" or key in again
        seconds = folder.estimate(stage) if runs else None
        if runs:
            estimates.append(seconds)
        duration = "" if not runs else "?" if seconds is None else clock(seconds)
        why = _in_words(state, key in again)
        yield f"  {stage.kind:<9}{stage.title:<36} {key[:8]}  {duration:>8}  {why}"
    kept = [states[key] for key in plan.stages if key not in again]
    yield from _notes(kept)
    known = [seconds for seconds in estimates if seconds is not None]
    unknown = len(estimates) - len(known)
    total = [clock(sum(known))] if known else []
    total += [f"{unknown} of unknown length (?)"] if unknown else []
    done = len(plan.stages) - len(estimates)
    summary = f"{len(plan.stages)} stages: {done} complete, {len(estimates)} to run"
    for change in STALE:
        number = sum(change in state.changes for state in kept)
        summary += f", {number} {change}" if number else ""
    yield f"{summary}, stage time {' + '.join(total)}" if total else summary


def _in_words(state: StageState, again: bool) -> str:
    if again:
        return "run again" if state.progress == "new" else f"{state.progress}, removed and run again"
    if state.progress == "damaged":
        return f"damaged, run again: {shortened(state.damaged, 3)}"
    changes = [
        f"{change}: {shortened(state.changes[change], 3)}" for change in STALE if change in state.changes
    ]
    if state.progress == "complete":
        pruned = ["pruned"] if state.was_pruned else []
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
