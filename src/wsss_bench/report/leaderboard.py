"""The leaderboard as data: one row for each method and protocol id, over the runs that are done.

Scores are in percent here; they are fractions in `metrics.json`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from wsss_bench.artifacts.layout import OWN
from wsss_bench.artifacts.metrics import ScoredRow
from wsss_bench.metrics.per_image import PerImageConfusions
from wsss_bench.metrics.stats import ResampledMIoU, resample, summarize
from wsss_bench.plan.config import MethodHints, PublishedResult
from wsss_bench.plan.plan import ScoredProduct
from wsss_bench.plan.state import STALE, Changes
from wsss_bench.report.results import DAMAGED, FAILED, Cost, ProductResult, ScoredResult


class ProductKey(NamedTuple):
    """A product of a method, over its runs."""

    method: str
    dataset: str
    product: str
    split: str
    refiner: str | None


@dataclass(frozen=True)
class RunScore:
    """The score of one run (one random seed) under one protocol.

    Args:
        random_seed: Random seed of the run.
        miou: Percent.
        iou: Percent by class name, background first; None for a class that occurs in neither ground truth nor
            prediction.
        boundary_iou: The same over the pixels near a boundary of the truth; None where it was not measured.
        false_positive_background: Percent of the true background that was predicted as foreground.
        false_negative_background: Percent of the true foreground that was predicted as background.
        threshold: Background threshold, if there is one.
        n_images: Images scored.
        cost: Cost of all stages that lead here.
        commits: Commits that those stages and the scoring were made from.
        stages: Stage folders, inputs first, the scoring last.
        confusions: Confusion matrices of the images, of a score that ranks; None where they are gone.
        changes: What has changed since the stages ran, by name of the stage.
        curve: Of seeds: `threshold` and `miou`, fractions, on all images.
    """

    random_seed: int
    miou: float
    iou: dict[str, float | None]
    boundary_iou: dict[str, float | None] | None
    false_positive_background: float | None
    false_negative_background: float | None
    threshold: float | None
    n_images: int
    cost: Cost
    commits: tuple[str, ...]
    stages: tuple[Path, ...]
    confusions: PerImageConfusions | None
    changes: dict[str, Changes]
    curve: dict[str, list[float]] | None


@dataclass(frozen=True)
class Row:
    """One line of the leaderboard: the score of a method under one protocol, over its runs.

    Args:
        method: Name of the method, or of the variant.
        base: The method itself; for a variant the method that it varies.
        dataset: Data set.
        split: Scored split.
        product: `seed`, `pseudo_mask` or `segmentation`.
        refiner: Refiner of pseudo masks, or of the pseudo masks that a segmenter was trained on.
        protocol: Protocol id, without the value of a threshold that was chosen on data.
        scales: `ss`, `ms`, or `own` for a read-out that a paper published.
        post: `raw`, `crf`, the name of the published read-out, or the refiner, with its settings where the
            method has its own: `irn[threshold=0.2]`.
        rule: `fixed`, `heldout`, `oracle` or `na`.
        headline: Whether this score ranks.
        hints: The `bench:` block of the method.
        extra: What method and segmenter were given beyond ImageNet weights and the supervision.
        published: The published result that was measured alike, if there is one.
        planned: Number of runs that the experiment asks for.
        runs: The runs that are done.
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
    published: PublishedResult | None
    planned: int
    runs: tuple[RunScore, ...]

    @property
    def miou_mean(self) -> float:
        """Mean over runs, percent."""
        return summarize([run.miou for run in self.runs]).mean

    @property
    def miou_std(self) -> float | None:
        """Sample standard deviation over runs, in points; None for one run."""
        return summarize([run.miou for run in self.runs]).std

    @property
    def gap(self) -> float | None:
        """Our mIoU minus the published one, in points."""
        return None if self.published is None else self.miou_mean - self.published.miou

    @cached_property
    def resampled(self) -> ResampledMIoU | None:
        """mIoU on resampled images; None where matrices are gone or the runs cover different images."""
        runs = [run.confusions for run in self.runs if run.confusions is not None]
        if len(runs) < len(self.runs) or len({frozenset(run.image_ids) for run in runs}) > 1:
            return None
        return resample(runs)

    @property
    def is_stale(self) -> bool:
        """Whether a run rests on a stage whose code or input has changed since it ran."""
        return any(change in STALE for run in self.runs for found in run.changes.values() for change in found)

    @property
    def commits(self) -> list[str]:
        """Commits of all runs, sorted."""
        return sorted({commit for run in self.runs for commit in run.commits})

    def mean(self, value: Callable[[RunScore], float | None]) -> float | None:
        """Mean of a value over the runs; None if a run lacks it."""
        values = [value(run) for run in self.runs]
        present = [one for one in values if one is not None]
        return summarize(present).mean if len(present) == len(values) else None


@dataclass(frozen=True)
class Leaderboard:
    """All rows, and why scores are missing.

    Args:
        rows: In the order of the plan.
        gaps: The products without a single score, with the reason: `-` (not run yet), `failed`, `damaged`, or
            a missing module (`no crf`).
        damage: What is wrong with the files of each result that is left out.
        missing: The products of single runs without a score.
    """

    rows: list[Row]
    gaps: dict[ProductKey, str]
    damage: list[str] = field(default_factory=list)
    missing: list[ProductResult] = field(default_factory=list)

    @property
    def usual_commit(self) -> str:
        """The commit that most of the rows that rank were made from; empty without a row."""
        counted = Counter(commit for row in self.rows if row.headline for commit in row.commits)
        return counted.most_common(1)[0][0] if counted else ""


def make_leaderboard(results: Iterable[ProductResult]) -> Leaderboard:
    """Group the results by method and protocol."""
    runs: dict[tuple[ProductKey, str], list[tuple[ProductResult, ScoredResult]]] = {}
    planned: Counter[ProductKey] = Counter()
    gaps: dict[ProductKey, str] = {}
    damage: list[str] = []
    missing: list[ProductResult] = []
    for result in results:
        product = result.product
        cell = product.cell
        key = ProductKey(cell.row, cell.dataset, product.kind, product.split, product.refiner)
        planned[key] += 1
        if gaps.get(key) not in (FAILED, DAMAGED):
            gaps[key] = result.missing
        if result.damage:
            damage.append(result.damage)
        if result.missing:
            missing.append(result)
        for scored in result.rows:
            runs.setdefault((key, without_chosen_threshold(scored.row.protocol)), []).append((result, scored))
    rows = [_row(protocol, planned[key], entries) for (key, protocol), entries in runs.items()]
    for key, _ in runs:
        gaps.pop(key, None)
    return Leaderboard(rows, gaps, damage, missing)


def _row(protocol: str, planned: int, entries: list[tuple[ProductResult, ScoredResult]]) -> Row:
    product, scored = entries[0][0].product, entries[0][1].row
    cell = product.cell
    return Row(
        method=cell.row,
        base=cell.method,
        dataset=cell.dataset,
        split=product.split,
        product=product.kind,
        refiner=product.refiner,
        protocol=protocol,
        scales=scored.scales,
        post=scored.post,
        rule=scored.rule,
        headline=scored.headline,
        hints=cell.content.bench,
        extra=extra_of(product),
        published=None if cell.is_variant else _published(product, scored),
        planned=planned,
        runs=tuple(_run_score(result, one) for result, one in entries),
    )


def _run_score(result: ProductResult, scored: ScoredResult) -> RunScore:
    row = scored.row
    assert row.miou is not None  # `read_results` leaves such results out
    return RunScore(
        random_seed=result.product.cell.random_seed,
        miou=100.0 * row.miou,
        iou=_by_class(result, row.iou),
        boundary_iou=None if row.boundary_iou is None else _by_class(result, row.boundary_iou),
        false_positive_background=_percent(row.false_positive_background),
        false_negative_background=_percent(row.false_negative_background),
        threshold=row.threshold,
        n_images=row.n_images,
        cost=result.cost,
        commits=result.commits,
        stages=result.stages,
        confusions=scored.confusions,
        changes=result.changes,
        curve=result.curve,
    )


def _by_class(result: ProductResult, values: Sequence[float | None]) -> dict[str, float | None]:
    names = ("background", *result.class_names)
    return {name: _percent(value) for name, value in zip(names, values, strict=True)}


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def extra_of(product: ScoredProduct) -> tuple[str, ...]:
    """What the method and the segmenter of a product were given beyond the usual, sorted."""
    return tuple(sorted({*product.cell.content.bench.extra, *product.extra}))


def without_chosen_threshold(protocol: str) -> str:
    """Protocol id without the value of a threshold that was chosen on data, which differs between runs."""
    return re.sub(r"/thr-(heldout|oracle)-[^/]*", r"/thr-\1", protocol)


def without_threshold(protocol: str) -> str:
    """Protocol id without the value of any threshold: the same for all methods that are measured alike.

    Examples:
        >>> without_threshold("voc-train/n1464/labels-given/ms/raw/thr-fixed-0.15/last")
        'voc-train/n1464/labels-given/ms/raw/thr-fixed/last'
    """
    return re.sub(r"/thr-([a-z]+)-[^/]*", r"/thr-\1", protocol)


def _published(product: ScoredProduct, scored: ScoredRow) -> PublishedResult | None:
    """The published result that was measured as this score was, if there is one."""
    place = (product.cell.dataset, product.split, product.kind, product.segmenter)
    for published in product.cell.content.bench.paper:
        if (published.dataset, published.split, published.product, published.segmenter) != place:
            continue
        ours, theirs = {
            "seed": (scored.rule, published.rule),
            "pseudo_mask": (product.refiner, published.refiner),
            "segmentation": (
                (product.refiner, readout_of(scored.scales, scored.post)),
                (published.refiner, published.readout),
            ),
        }[product.kind]
        if ours == theirs:
            return published
    return None


def readout_of(scales: str, post: str) -> str:
    """The read-out of a segmentation as `PublishedResult` names it."""
    return post if scales == OWN else f"{scales}-{post}"
