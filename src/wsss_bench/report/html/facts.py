"""What stands behind the scores: the stages with their cost, version and command, and what is missing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.layout import FAILURE_FILE, LOG_FILE, find_json
from wsss_bench.artifacts.pruning import pruned_folders
from wsss_bench.plan.plan import Plan, Stage
from wsss_bench.plan.scoring import NO_MASKS
from wsss_bench.plan.state import read_manifests
from wsss_bench.report.html.groups import PRODUCTS, scored_datasets
from wsss_bench.report.leaderboard import Leaderboard
from wsss_bench.report.results import FAILED, PARTIAL, reason_in_words


@dataclass(frozen=True)
class StageFact:
    """A stage of the plan.

    Args:
        name: Kind and title.
        state: `complete`, `failed`, `resumes`, `new`, `damaged`; with ` (pruned)` where its large files were
            removed.
        reason: Why it failed.
        seconds: GPU seconds, or CPU seconds without a GPU.
        memory: Peak memory in GB.
        commit: The commit that it was made from.
        finished: When it ended (UTC).
        command: The command that made it, or that would make it.
        log: Its log, as a link from the page; empty where there is none.
    """

    name: str
    state: str
    reason: str
    seconds: float | None
    memory: float | None
    commit: str
    finished: str
    command: str
    log: str


@dataclass(frozen=True)
class Missing:
    """A product without a score.

    Args:
        method: Method.
        product: Product and split.
        reason: Why it has no score.
        detail: What the stage says that is to blame.
        log: Its log, as a link from the page; empty where there is none.
        is_left_out: Whether the plan itself gives it no score.
        random_seeds: The runs.
    """

    method: str
    product: str
    reason: str
    detail: str
    log: str
    is_left_out: bool
    random_seeds: tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """Everything that is known about the stages of an experiment.

    Args:
        stages: All stages of the plan.
        missing: The products without a score, runs with the same reason together.
        versions: Versions of Python and packages, all that were found, by name.
        hours: What the cost counts: `CPU hours`; `GPU or CPU hours` where a stage used a GPU.
        total_hours: Of all complete stages.
    """

    stages: list[StageFact] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    versions: dict[str, list[str]] = field(default_factory=dict)
    hours: str = "CPU hours"
    total_hours: float = 0.0

    @property
    def states(self) -> dict[str, int]:
        """Number of stages in each state, pruned ones among the complete ones."""
        found: dict[str, int] = {}
        for stage in self.stages:
            state = stage.state.partition(" ")[0]
            found[state] = found.get(state, 0) + 1
        return found


def read_facts(plan: Plan, board: Leaderboard, page: Path) -> Facts:
    """Read manifests and failures of all stages.

    Args:
        plan: The plan.
        board: Its leaderboard.
        page: Folder of the page, which links start from.
    """
    manifests = read_manifests(plan)
    present = [manifest for manifest in manifests.values() if manifest is not None]
    versions: dict[str, set[str]] = {}
    for manifest in present:
        for package, version in (manifest.get("versions") or {}).items():
            versions.setdefault(str(package), set()).add(str(version))
    stages = [_stage(stage, manifests[key], page) for key, stage in plan.stages.items()]
    return Facts(
        stages=stages,
        missing=_missing(plan, board, page),
        versions={name: sorted(found) for name, found in versions.items()},
        hours="GPU or CPU hours" if any(one.get("gpu_seconds") for one in present) else "CPU hours",
        total_hours=sum(stage.seconds or 0.0 for stage in stages) / 3600,
    )


def _stage(stage: Stage, manifest: Mapping[str, Any] | None, page: Path) -> StageFact:
    found = manifest or {}
    state = "damaged" if manifest is None and is_complete(stage.path) else stage.state
    pruned = pruned_folders(stage.path) if state == "complete" else ()
    memory = found.get("peak_memory_mb")
    return StageFact(
        name=stage.name,
        state=state + (" (pruned)" if pruned else ""),
        reason=_failure(stage) if state == FAILED else "",
        seconds=(found.get("gpu_seconds") or found.get("cpu_seconds", 0.0)) if manifest else None,
        memory=None if memory is None else memory / 1000,
        commit=str(found.get("commit") or ""),
        finished=str(found.get("finished") or ""),
        command=str(found.get("command") or shlex.join(["wsss-bench", *stage.arguments])),
        log=_link(stage.path / LOG_FILE, page),
    )


def _missing(plan: Plan, board: Leaderboard, page: Path) -> list[Missing]:
    found: dict[Missing, list[int]] = {}
    for result in board.missing:
        product, detail, log = result.product, result.damage, ""
        for stage in plan.chain(product.evaluate) if product.evaluate and result.missing == FAILED else ():
            if stage.state == FAILED:
                detail, log = f"{stage.name}: {_failure(stage)}", _link(stage.path / LOG_FILE, page)
                break
        what = f"{product.refiner} masks" if product.kind == "pseudo_mask" else PRODUCTS[product.kind]
        of = f"{product.cell.dataset} {product.split}" if len(scored_datasets(plan)) > 1 else product.split
        left_out = result.missing in (PARTIAL, NO_MASKS)
        reason = reason_in_words(result.missing)
        key = Missing(product.cell.row, f"{what} of {of}", reason, detail, log, left_out, ())
        found.setdefault(key, []).append(product.cell.random_seed)
    return [replace(key, random_seeds=tuple(random_seeds)) for key, random_seeds in found.items()]


def _failure(stage: Stage) -> str:
    """Why the last attempt of a failed stage failed."""
    return str(find_json(stage.path / FAILURE_FILE).get("reason", ""))


def _link(file: Path, page: Path) -> str:
    return quote(Path(os.path.relpath(file, page)).as_posix()) if file.is_file() else ""
