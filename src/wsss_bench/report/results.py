"""Everything that the report reads from disk, in one pass: the results of the stages of a plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import is_complete, read_manifest
from wsss_bench.artifacts.metrics import CONFUSIONS, Metrics, ScoredRow, read_metrics
from wsss_bench.metrics.per_image import PerImageConfusions, read_per_image
from wsss_bench.plan.plan import Plan, ScoredProduct, Stage

NOT_RUN = "-"
FAILED = "failed"
Manifests = dict[str, dict[str, Any] | None]
"""Manifest of each stage by fingerprint; None for a stage that is not complete."""


@dataclass(frozen=True)
class Cost:
    """What the stages took that lead to a product, scoring not counted.

    Args:
        params: Parameters of the largest model, if a stage recorded them.
        seconds: GPU seconds, or CPU seconds without a GPU; None where a manifest is gone.
        seconds_by_kind: The same, by kind of stage; empty where a manifest is gone.
        peak_memory_mb: Peak memory of the largest stage, MB.
    """

    params: int | None = None
    seconds: float | None = None
    seconds_by_kind: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None


@dataclass(frozen=True)
class ScoredResult:
    """One scored row of one run.

    Args:
        row: The row of `metrics.json`.
        confusions: Confusion matrices of its images; None where the file is gone, and for a row that does not
            rank.
    """

    row: ScoredRow
    confusions: PerImageConfusions | None


@dataclass(frozen=True)
class ProductResult:
    """What is on disk of one product of one run (random seed).

    Args:
        product: The product in the plan.
        missing: Why there are no rows: `-` (not run), `failed`, or a missing module (`no crf`). Empty where
            there are rows.
        class_names: Foreground classes.
        rows: The scored rows.
        cost: Cost of the stages that lead to it.
        commits: Commits that those stages and the scoring were made from, sorted.
        stages: Stage folders, inputs first, the scoring last.
    """

    product: ScoredProduct
    missing: str
    class_names: tuple[str, ...] = ()
    rows: tuple[ScoredResult, ...] = ()
    cost: Cost = field(default_factory=Cost)
    commits: tuple[str, ...] = ()
    stages: tuple[Path, ...] = ()


def read_results(plan: Plan) -> list[ProductResult]:
    """Read the results of all products of a plan, in its order."""
    manifests: Manifests = {
        key: read_manifest(stage.path) if is_complete(stage.path) else None
        for key, stage in plan.stages.items()
    }
    return [_read_product(plan, product, manifests) for product in plan.products]


def _read_product(plan: Plan, product: ScoredProduct, manifests: Manifests) -> ProductResult:
    if product.evaluate is None:
        return ProductResult(product, product.missing)
    chain = plan.chain(product.evaluate)
    if manifests[product.evaluate] is None:
        failed = any(stage.state == "failed" for stage in chain)
        return ProductResult(product, FAILED if failed else NOT_RUN)
    folder = chain[-1].path
    metrics = read_metrics(folder)
    found = [manifest for stage in chain if (manifest := manifests[stage.fingerprint]) is not None]
    return ProductResult(
        product,
        missing="",
        class_names=metrics.class_names,
        rows=tuple(_read_row(folder, metrics, index) for index in range(len(metrics.rows))),
        cost=_cost(chain[:-1], manifests),
        commits=tuple(sorted({str(manifest.get("commit") or "unknown") for manifest in found})),
        stages=tuple(stage.path for stage in chain),
    )


def _read_row(folder: Path, metrics: Metrics, index: int) -> ScoredResult:
    row, path = metrics.rows[index], folder / CONFUSIONS
    readable = row.headline and path.is_file()
    return ScoredResult(row, read_per_image(path, index, len(row.iou)) if readable else None)


def _cost(stages: Sequence[Stage], manifests: Manifests) -> Cost:
    """Cost of the stages; an empty one where a manifest is gone."""
    found: list[dict[str, Any]] = []
    by_kind: dict[str, float] = defaultdict(float)
    for stage in stages:
        manifest = manifests[stage.fingerprint]
        if manifest is None:
            return Cost()
        found.append(manifest)
        by_kind[stage.kind] += float(manifest.get("gpu_seconds") or manifest.get("cpu_seconds", 0.0))
    return Cost(
        params=max((int(one["params"]) for one in found if one.get("params") is not None), default=None),
        seconds=sum(by_kind.values()),
        seconds_by_kind=dict(by_kind),
        peak_memory_mb=max((float(one.get("peak_memory_mb", 0.0)) for one in found), default=None),
    )
