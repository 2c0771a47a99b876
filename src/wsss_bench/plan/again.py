"""Which complete stages run again: those that `--again` means, with all that read them (a row, a
stage, or what has changed); and those whose removed files are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches

from wsss_bench.artifacts.layout import READ
from wsss_bench.plan.plan import Plan, Stage
from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.state import StageState

CHANGED = "changed"


def stages_to_run_again(plan: Plan, names: Iterable[str], states: Mapping[str, StageState]) -> list[Stage]:
    """The stages that `names` mean and all stages that read them, inputs first.

    Args:
        plan: The plan.
        names: A row of the table, for the stages that are planned under its name (the training that it starts
            from belongs to another row); a stage as the plan prints it (kind and title, or the first digits
            of its fingerprint), or the name of its folder; `changed` for the stages that are stale.
        states: States of the stages.

    Raises:
        ConfigError: a name that is none of these.
    """
    chosen: set[str] = set()
    for name in names:
        found = {key for key, state in states.items() if state.is_stale} if name == CHANGED else None
        chosen |= set(_named(plan, name)) if found is None else found
    return plan.with_readers(chosen)


def with_pruned_inputs(
    plan: Plan, states: Mapping[str, StageState], again: Iterable[Stage]
) -> dict[str, StageState]:
    """The states, with `pruned` for the complete stages whose removed files are read by stages that will run.

    Args:
        plan: The plan.
        states: States of the stages.
        again: The stages that are run again on request.
    """
    found = dict(states)
    running = {stage.fingerprint for stage in again}
    for key, stage in reversed(plan.stages.items()):  # those that read before those that they read
        if key in running or found[key].progress != "complete":
            for role, parent in stage.inputs.items():
                if READ.get(role) in found[parent].pruned and found[parent].progress == "complete":
                    found[parent] = replace(found[parent], progress="pruned")
    return found


def _named(plan: Plan, name: str) -> Iterator[str]:
    rows = {product.cell.row for product in plan.products}
    if name in rows:
        yield from _of_row(plan, name)
        return
    found = [key for key, stage in plan.stages.items() if name in names_of(stage)]
    if not found:
        known = [CHANGED, *sorted(rows), *(stage.name for stage in plan.stages.values())]
        known += [stage.path.name for stage in plan.stages.values()]
        close = get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ConfigError(
            f"--again: {name!r} is no row, no stage and not {CHANGED!r}; {hint}"
            f"Rows: {', '.join(sorted(rows))}. The plan (--dry-run) prints the stages"
        )
    yield from found


def names_of(stage: Stage) -> set[str]:
    """The names by which a user may call a stage."""
    return {stage.name, stage.title, stage.path.name, stage.fingerprint, stage.fingerprint[:8]}


def _of_row(plan: Plan, row: str) -> Iterator[str]:
    """The stages that lead to the products of a row, without those that are planned for another row."""
    owners: dict[str, str] = {}
    for product in plan.products:
        cell = product.cell
        owners[f"{cell.row}-{cell.dataset}-s{cell.random_seed}"] = cell.row
    for product in plan.products:
        if product.cell.row == row and product.evaluate is not None:
            for stage in plan.chain(product.evaluate):
                if _owner(stage, owners) in (row, None):
                    yield stage.fingerprint


def _owner(stage: Stage, owners: Mapping[str, str]) -> str | None:
    """The row whose name a stage was planned under; None if it is no row of the experiment."""
    starts = (start for start in owners if f"{stage.title}-".startswith(f"{start}-"))
    longest = max(starts, key=len, default=None)
    return None if longest is None else owners[longest]
