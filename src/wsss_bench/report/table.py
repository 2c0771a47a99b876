"""The leaderboard as data: one row for every figure that a protocol id names, over the seeds that are done.

Reads what the stages of a plan left on disk and computes nothing but means. Figures are in percent here,
shares of one in `metrics.json`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import is_complete, read_json, read_manifest, write_atomically, write_json
from wsss_bench.metrics.stats import summarize
from wsss_bench.plan.config import MethodHints, PublishedResult
from wsss_bench.plan.plan import Plan, ScoredProduct, Stage

METRICS = "metrics.json"
COLUMNS = (
    "method", "dataset", "split", "product", "protocol", "miou_mean", "miou_std", "n_runs", "n_images",
    "supervision", "backbone", "extra", "params", "seconds", "peak_memory_mb", "paper_miou", "gap", "commit",
)  # fmt: skip
"""Columns of `leaderboard.csv`: a promise to whoever reads it."""


@dataclass(frozen=True)
class Score:
    """One figure of one seed.

    Args:
        random_seed: Random seed of the cell.
        miou: Percent.
        iou: Percent by class name, background first; None where a class occurs in neither truth nor
            prediction.
        false_positive_background: Percent of the true background that was predicted as foreground.
        false_negative_background: Percent of the true foreground that was predicted as background.
        threshold: Background threshold, if there is one.
        n_images: Images scored.
        params: Parameters of the model.
        seconds: GPU seconds, or CPU seconds without a GPU, of all stages that lead here, scoring aside.
        seconds_by_kind: The same, by kind of stage.
        peak_memory_mb: Largest of those stages.
        commits: Commits that those stages and the scoring were made from.
        index: Position among the figures of its stage.
        stages: Folders, inputs first, the scoring last.
    """

    random_seed: int
    miou: float
    iou: dict[str, float | None]
    false_positive_background: float | None
    false_negative_background: float | None
    threshold: float | None
    n_images: int
    params: int | None
    seconds: float | None
    seconds_by_kind: dict[str, float]
    peak_memory_mb: float | None
    commits: tuple[str, ...]
    index: int
    stages: tuple[Path, ...]


@dataclass(frozen=True)
class Row:
    """One line of the leaderboard: a figure of a method under one protocol, over seeds.

    Args:
        method: Row name: method or variant.
        base: The method, of a variant that which it varies.
        dataset: Data set.
        split: What it is scored on.
        product: `seed`, `pseudo_mask` or `segmentation`.
        refiner: Of a refined product, or of the pseudo masks behind a segmentation.
        protocol: Protocol id; of a threshold that differs from seed to seed only the rule is in it.
        scales: `ss` or `ms`.
        post: `raw`, `crf`, or the refiner.
        rule: `fixed`, `heldout`, `oracle` or `na`.
        headline: Whether this figure ranks.
        hints: The `bench:` block of the method.
        extra: What it was given beyond ImageNet weights and its supervision, by method and segmenter.
        paper: The published figure that is comparable.
        planned: Seeds that the experiment asks for.
        scores: Those that are done.
    """

    method: str
    base: str
    dataset: str
    split: str
    product: str
    refiner: str | None
    protocol: str
    scales: str
    post: str
    rule: str
    headline: bool
    hints: MethodHints
    extra: tuple[str, ...]
    paper: PublishedResult | None
    planned: int
    scores: tuple[Score, ...]

    @property
    def miou_mean(self) -> float:
        """Mean over seeds, percent."""
        return summarize([score.miou for score in self.scores]).mean

    @property
    def miou_std(self) -> float | None:
        """Sample standard deviation over seeds in points; None for one seed."""
        return summarize([score.miou for score in self.scores]).std

    @property
    def gap(self) -> float | None:
        """Ours minus the published figure, points."""
        return None if self.paper is None else self.miou_mean - self.paper.miou

    @property
    def commits(self) -> list[str]:
        """All commits that had a part in it."""
        return sorted({commit for score in self.scores for commit in score.commits})

    def mean(self, name: str) -> float | None:
        """Mean of a column of the scores; None if a seed lacks it."""
        values = [getattr(score, name) for score in self.scores]
        return None if None in values else summarize(values).mean


@dataclass(frozen=True)
class Leaderboard:
    """All rows, and why figures are missing.

    Args:
        rows: In the order of the plan.
        gaps: `(method, dataset, product, split, refiner)` of products without a single figure, with the
            reason:
            `-` (not run yet), `failed`, or the mark of a missing module.
    """

    rows: list[Row]
    gaps: dict[tuple[str, str, str, str, str | None], str]


def collect(plan: Plan) -> Leaderboard:
    """Read what is done of a plan."""
    found: dict[Any, list[tuple[ScoredProduct, dict[str, Any], Score]]] = {}
    planned: dict[Any, int] = defaultdict(int)
    reasons: dict[Any, str] = {}
    for product in plan.products:
        cell = product.cell
        key = (cell.row, cell.dataset, product.kind, product.split, product.refiner)
        planned[key] += 1
        reason, figures = _read(plan, product)
        if reasons.get(key) != "failed":
            reasons[key] = reason
        for figure, score in figures:
            found.setdefault((*key, protocol_of(figure)), []).append((product, figure, score))
    rows = []
    for key, entries in found.items():
        product, figure, _ = entries[0]
        cell = product.cell
        paper = None if cell.is_variant else _paper(cell.content.bench, product, figure)
        rows.append(
            Row(
                method=cell.row,
                base=cell.method,
                dataset=cell.dataset,
                split=product.split,
                product=product.kind,
                refiner=product.refiner,
                protocol=key[-1],
                scales=figure["scales"],
                post=figure["post"],
                rule=figure["rule"],
                headline=bool(figure["headline"]),
                hints=cell.content.bench,
                extra=extra_of(product),
                paper=paper,
                planned=planned[key[:-1]],
                scores=tuple(score for _, _, score in entries),
            )
        )
        reasons.pop(key[:-1], None)
    return Leaderboard(rows, reasons)


def extra_of(product: ScoredProduct) -> tuple[str, ...]:
    """What a product's method and segmenter were given beyond the usual, sorted."""
    return tuple(sorted({*product.cell.content.bench.extra, *product.extra}))


def protocol_of(figure: dict[str, Any]) -> str:
    """Protocol id without the value of a threshold that was chosen on data, so that seeds share it."""
    return re.sub(r"/thr-(heldout|oracle)-[^/]*", r"/thr-\1", figure["protocol"])


def stem(protocol: str) -> str:
    """Protocol id without any threshold value: what figures must share to be compared."""
    return re.sub(r"/thr-([a-z]+)-[^/]*", r"/thr-\1", protocol)


def _read(plan: Plan, product: ScoredProduct) -> tuple[str, list[tuple[dict[str, Any], Score]]]:
    """The figures of a product, or the reason why there are none."""
    if product.evaluate is None:
        return product.missing, []
    chain = plan.chain(product.evaluate)
    scoring = chain[-1]
    if not is_complete(scoring.path):
        return ("failed" if any(stage.state == "failed" for stage in chain) else "-"), []
    metrics = read_json(scoring.path / METRICS)
    classes = ["background", *metrics["class_names"]]
    manifests = [read_manifest(stage.path) for stage in chain if is_complete(stage.path)]
    cost = _cost(chain[:-1])
    figures = []
    for index, figure in enumerate(metrics["rows"]):
        score = Score(
            random_seed=product.cell.random_seed,
            miou=100.0 * figure["miou"],
            iou={name: _percent(value) for name, value in zip(classes, figure["iou"], strict=True)},
            false_positive_background=_percent(figure.get("false_positive_background")),
            false_negative_background=_percent(figure.get("false_negative_background")),
            threshold=figure.get("threshold"),
            n_images=int(figure["n_images"]),
            commits=tuple(sorted({str(manifest.get("commit") or "unknown") for manifest in manifests})),
            index=index,
            stages=tuple(stage.path for stage in chain),
            **cost,
        )
        figures.append((figure, score))
    return "", figures


def _cost(stages: list[Stage]) -> dict[str, Any]:
    """Parameters, seconds and memory of the stages; None where a manifest that would tell is gone."""
    if not all(is_complete(stage.path) for stage in stages):
        return {"params": None, "seconds": None, "seconds_by_kind": {}, "peak_memory_mb": None}
    manifests = [read_manifest(stage.path) for stage in stages]
    by_kind: dict[str, float] = defaultdict(float)
    for stage, manifest in zip(stages, manifests, strict=True):
        by_kind[stage.kind] += float(manifest.get("gpu_seconds") or manifest.get("cpu_seconds", 0.0))
    return {
        "params": max((int(m["params"]) for m in manifests if m.get("params") is not None), default=None),
        "seconds": sum(by_kind.values()),
        "seconds_by_kind": dict(by_kind),
        "peak_memory_mb": max((float(m.get("peak_memory_mb", 0.0)) for m in manifests), default=None),
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def _paper(hints: MethodHints, product: ScoredProduct, figure: dict[str, Any]) -> PublishedResult | None:
    """The published figure with this read-out; one that does not say its read-out meets the headline only."""
    for paper in hints.paper:
        if (paper.dataset, paper.split, paper.product) != (product.cell.dataset, product.split, product.kind):
            continue
        if paper.scales is None and paper.post is None:
            if figure["headline"]:
                return paper
            continue
        same = paper.scales in (None, figure["scales"]) and paper.post in (None, figure["post"])
        if same and figure["rule"] in ("fixed", "na"):
            return paper
    return None


def as_records(board: Leaderboard) -> list[dict[str, Any]]:
    """The rows with the columns of `leaderboard.csv`; None where there is no value."""
    return [
        {
            "method": row.method,
            "dataset": row.dataset,
            "split": row.split,
            "product": row.product,
            "protocol": row.protocol,
            "miou_mean": _rounded(row.miou_mean),
            "miou_std": _rounded(row.miou_std),
            "n_runs": len(row.scores),
            "n_images": row.scores[0].n_images,
            "supervision": row.hints.supervision,
            "backbone": row.hints.backbone,
            "extra": " ".join(row.extra),
            "params": row.scores[0].params,
            "seconds": _rounded(row.mean("seconds"), 1),
            "peak_memory_mb": _rounded(row.mean("peak_memory_mb"), 1),
            "paper_miou": row.paper.miou if row.paper else None,
            "gap": _rounded(row.gap),
            "commit": " ".join(row.commits),
        }
        for row in board.rows
    ]


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def write_csv(board: Leaderboard, path: Path) -> None:
    """Write `leaderboard.csv`: long form, one line a figure, empty where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_records(board))
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def write_details(board: Leaderboard, differences: Sequence[Any], path: Path) -> None:
    """Write `leaderboard.json`: the rows of the CSV, each with its seeds, per-class figures and folders.

    Args:
        board: The rows.
        differences: Dataclasses of `wsss_bench.report.differences`.
        path: The file.
    """
    rows = []
    for row, record in zip(board.rows, as_records(board), strict=True):
        runs = [
            {
                "random_seed": score.random_seed,
                "miou": _rounded(score.miou),
                "iou": {name: _rounded(value) for name, value in score.iou.items()},
                "false_positive_background": _rounded(score.false_positive_background),
                "false_negative_background": _rounded(score.false_negative_background),
                "threshold": score.threshold,
                "seconds": _rounded(score.seconds, 1),
                "seconds_by_kind": {kind: round(value, 1) for kind, value in score.seconds_by_kind.items()},
                "peak_memory_mb": score.peak_memory_mb,
                "commits": list(score.commits),
                "stages": [str(stage) for stage in score.stages],
            }
            for score in row.scores
        ]
        source = {"paper_source": row.paper.source} if row.paper else {}
        rows.append({**record, **source, "rule": row.rule, "headline": row.headline, "runs": runs})
    names = ("method", "dataset", "product", "split", "refiner")
    missing = [{**dict(zip(names, key, strict=True)), "reason": reason} for key, reason in board.gaps.items()]
    write_json(path, {"rows": rows, "missing": missing, "differences": [asdict(one) for one in differences]})
