"""Everything that the report reads from disk, in one pass: the results of the stages of a plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.layout import MANIFEST
from wsss_bench.artifacts.metrics import CONFUSIONS, METRICS, Metrics, ScoredRow, read_metrics
from wsss_bench.artifacts.stage_files import check_file
from wsss_bench.metrics.per_image import PerImageConfusions, read_per_image
from wsss_bench.plan.plan import Plan, ScoredProduct, Stage
from wsss_bench.plan.state import Changes, Manifests, changes_of, read_manifests

NOT_RUN = "-"
FAILED = "failed"
DAMAGED = "damaged"
PARTIAL = "partial"
WORDS = {NOT_RUN: "not run yet", PARTIAL: "has undecided pixels"}
"""Reasons for a missing score whose text in the table says little by itself."""


def reason_in_words(missing: str) -> str:
    """Why there is no score, in words."""
    return WORDS.get(missing, missing)


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

    def seconds_of(self, kinds: Collection[str]) -> float | None:
        """Seconds of the stages of these kinds; None where there is none."""
        found = [seconds for kind, seconds in self.seconds_by_kind.items() if kind in kinds]
        return sum(found) if found else None


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
        missing: Why there are no rows: `-` (not run), `failed`, `damaged`, or a missing module (`no crf`).
            Empty where there are rows.
        damage: What is wrong with the files of a `damaged` one.
        class_names: Foreground classes.
        rows: The scored rows.
        cost: Cost of the stages that lead to it.
        commits: Commits that those stages and the scoring were made from, sorted.
        stages: Stage folders, inputs first, the scoring last.
        changes: What has changed since they ran, by name of the stage.
        curve: Of seeds: `threshold` and `miou` in [0, 1], two lists of the same length.
    """

    product: ScoredProduct
    missing: str
    damage: str = ""
    class_names: tuple[str, ...] = ()
    rows: tuple[ScoredResult, ...] = ()
    cost: Cost = field(default_factory=Cost)
    commits: tuple[str, ...] = ()
    stages: tuple[Path, ...] = ()
    changes: dict[str, Changes] = field(default_factory=dict)
    curve: dict[str, list[float]] | None = None


def read_results(plan: Plan) -> list[ProductResult]:
    """Read the results of all products of a plan, in its order."""
    manifests = read_manifests(plan)
    changes = changes_of(plan, manifests)
    return [_read_product(plan, product, manifests, changes) for product in plan.products]


def _read_product(
    plan: Plan, product: ScoredProduct, manifests: Manifests, changes: dict[str, Changes]
) -> ProductResult:
    if product.evaluate is None:
        return ProductResult(product, product.missing)
    chain = plan.chain(product.evaluate)
    if manifests[product.evaluate] is None and not is_complete(chain[-1].path):
        failed = any(stage.state == "failed" for stage in chain)
        return ProductResult(product, FAILED if failed else NOT_RUN)
    try:
        metrics, rows = _read_scores(chain[-1].path, manifests[product.evaluate])
    except (OSError, ValueError) as error:
        return ProductResult(product, DAMAGED, str(error))
    found = [manifest for stage in chain if (manifest := manifests[stage.fingerprint]) is not None]
    return ProductResult(
        product,
        missing="",
        class_names=metrics.class_names,
        rows=rows,
        cost=_cost(chain[:-1], manifests),
        commits=tuple(sorted({str(manifest.get("commit") or "unknown") for manifest in found})),
        stages=tuple(stage.path for stage in chain),
        changes={stage.name: changes[stage.fingerprint] for stage in chain if changes[stage.fingerprint]},
        curve=metrics.curve,
    )


def _read_scores(folder: Path, manifest: dict[str, Any] | None) -> tuple[Metrics, tuple[ScoredResult, ...]]:
    """Scores of a complete evaluate stage.

    Raises:
        OSError, ValueError: a file is missing, unreadable or not the one that the stage wrote, or no pixel
            of its split counts.
    """
    if manifest is None:
        raise ValueError(f"{folder / MANIFEST} is not valid JSON")
    check_file(folder, METRICS)
    metrics = read_metrics(folder)
    if any(row.miou is None for row in metrics.rows):
        raise ValueError(
            f"{folder / METRICS} has no mIoU: no pixel of {metrics.split} counts; check its masks"
        )
    if (folder / CONFUSIONS).is_file():
        check_file(folder, CONFUSIONS)
    return metrics, tuple(_read_row(folder, metrics, index) for index in range(len(metrics.rows)))


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
