"""The states of planned stages: what is on disk, and what has changed since it was made.

What has changed is shown, and nothing is run again because of it; `--again` does that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.layout import BEGUN_FILE, MANIFEST, find_json, find_manifest
from wsss_bench.artifacts.metrics import METRICS, read_metrics
from wsss_bench.artifacts.pruning import pruned_folders
from wsss_bench.artifacts.source_code import ABSENT, SourceCode, changed_digests
from wsss_bench.artifacts.stage_files import check_file, lost_files
from wsss_bench.plan.plan import Plan, Stage

CODE_CHANGED = "code changed"
"""A module that the stage runs differs from the one that it ran with."""
CODE_UNKNOWN = "code unknown"
"""An earlier version made the stage, or its own modules are not on this machine."""
INPUT_CHANGED = "input changed"
"""A stage that it reads was made again since, with another result."""
STALE = (CODE_CHANGED, INPUT_CHANGED)
"""The changes that `--again changed` selects and that the table marks."""
Changes = dict[str, list[str]]
"""Changes of a stage, each with what has changed: modules, or names of stages."""
Manifests = dict[str, dict[str, Any] | None]
"""Manifest of each stage by fingerprint; None if the stage is not complete or its manifest is broken."""


@dataclass(frozen=True)
class StageState:
    """State of a stage.

    Args:
        progress: `complete`, `damaged` (it was complete), `pruned` (it was complete, and a stage that will
            run reads what was removed), `failed`, `resumes` or `new`.
        damaged: The files that are missing or were changed.
        changes: What has changed since it ran.
        pruned: Its folders that were removed (`artifacts.pruning`).
    """

    progress: str
    damaged: list[str] = field(default_factory=list)
    changes: Changes = field(default_factory=dict)
    pruned: tuple[str, ...] = ()

    @property
    def is_stale(self) -> bool:
        """Whether the result may be another one if it is run again."""
        return any(change in STALE for change in self.changes)


def read_manifests(plan: Plan) -> Manifests:
    """The manifests of all stages of a plan, each read once."""
    return {key: find_manifest(stage.path) or None for key, stage in plan.stages.items()}


def states_of(plan: Plan, manifests: Manifests | None = None) -> dict[str, StageState]:
    """States of all stages, by fingerprint. Lists each folder of a complete stage, and reads its scores."""
    manifests = read_manifests(plan) if manifests is None else manifests
    changes = changes_of(plan, manifests)
    states = {}
    for key, stage in plan.stages.items():
        manifest, progress, damaged = manifests[key], stage.state, []
        if progress == "complete":
            damaged = damage_of(stage, manifest)
        pruned = pruned_folders(stage.path) if progress == "complete" else ()
        states[key] = StageState("damaged" if damaged else progress, damaged, changes[key], pruned)
    return states


def damage_of(stage: Stage, manifest: dict[str, Any] | None) -> list[str]:
    """The files of a complete stage that are missing or were changed, as far as sizes and scores tell it."""
    damaged = lost_files(stage.path, manifest) if manifest else [MANIFEST]
    if stage.kind == "evaluate" and not damaged and why_unreadable(stage):
        damaged = [METRICS]
    return damaged


def why_unreadable(stage: Stage) -> str:
    """Why the scores of a complete evaluate stage are not the ones that it wrote; empty if they are."""
    try:
        check_file(stage.path, METRICS)
        read_metrics(stage.path)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def changes_of(plan: Plan, manifests: Manifests, code: SourceCode | None = None) -> dict[str, Changes]:
    """What has changed since the stages ran or began, by fingerprint.

    Args:
        plan: The plan.
        manifests: Its manifests.
        code: The code of today; read now by default.
    """
    code = code or SourceCode()
    return {key: _changes(plan, stage, manifests, code) for key, stage in plan.stages.items()}


def _changes(plan: Plan, stage: Stage, manifests: Manifests, code: SourceCode) -> Changes:
    record = manifests[stage.fingerprint]
    if record is None and not is_complete(stage.path):
        record = find_json(stage.path / BEGUN_FILE)
    if not record:
        return {}
    changes = _code_changes(record.get("code"), code)
    read = record.get("read", {})
    renewed = [
        plan.stages[key].name
        for role, key in stage.inputs.items()
        if role in read and read[role] != _digest_of_files(manifests[key], read[role])
    ]
    return changes | ({INPUT_CHANGED: renewed} if renewed else {})


def _digest_of_files(manifest: dict[str, Any] | None, otherwise: str) -> str:
    """Digest of what a stage wrote; `otherwise` if the stage is not complete or does not say."""
    return str((manifest or {}).get("files", {}).get("sha256", otherwise))


def _code_changes(recorded: dict[str, Any] | None, code: SourceCode) -> Changes:
    if recorded is None:
        return {CODE_UNKNOWN: []}
    today, before = code.digests(recorded["roots"]), recorded["modules"]
    gone = [root for root in recorded["roots"] if today.get(root) == ABSENT and before.get(root) != ABSENT]
    if gone:
        return {CODE_UNKNOWN: gone}
    changed = changed_digests(before, today)
    return {CODE_CHANGED: [name.removeprefix("wsss_bench.") for name in changed]} if changed else {}
