"""The header of a stage's run: which stage it is, which cell it belongs to, and which experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wsss_bench.artifacts.layout import PLAN_RECORD, STAGES, find_json
from wsss_bench.artifacts.run import StageInfo, commit
from wsss_bench.tracking.runs import RunHeader, facts_of, run_id, tag_of

BY_HAND = "by-hand"
"""Group of the stages that no plan names."""


def stage_header(
    out: Path, kind: str, info: StageInfo, resolved: dict[str, Any], protocol: str | None = None
) -> RunHeader:
    """The header of a stage's run.

    Its id is the name of the stage folder, so that a resumed stage continues its run.

    Args:
        out: The stage folder.
        kind: Used if `info` has no kind.
        info: What the plan records about the stage.
        resolved: The resolved configuration, key `resolved` of the config.
        protocol: Protocol id of the score that ranks, of an evaluation.
    """
    kind = info.kind or kind
    facts = facts_of(info.facts, kind, protocol, commit() or None)
    return RunHeader(
        id=run_id(out.name),
        name=f"{kind}-{info.title or out.name}",
        group=(facts["cell"] if info.fingerprint else None) or BY_HAND,
        job_type=kind,
        tags=tuple(tag_of(name) for name in experiments_of(out, info)),
        config={**facts, "resolved": resolved},
    )


def experiments_of(stage: Path, info: StageInfo) -> list[str]:
    """The experiments that have planned a stage: that of its plan, and those whose record names it.

    One that plans it after it ran is not among them; the runs of that experiment's cells name the stage.
    """
    if not info.fingerprint:
        return []
    folder = stage.absolute().parent
    records = folder.parent.glob(f"*/{PLAN_RECORD}") if folder.name == STAGES else ()
    found = {record.parent.name for record in records if stage.name in find_json(record)}
    return sorted(found | ({info.experiment} if info.experiment else set()))
