"""`metrics.json`: the scores of one evaluation, written by the evaluate stage and read by the report.

All ratios are fractions in [0, 1]; percent is a matter of the report.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.files import read_json, write_json
from wsss_bench.artifacts.layout import how_to_mend

METRICS = "metrics.json"
"""Scores of an evaluation: the content of `Metrics`."""
CONFUSIONS = "confusions.npz"
"""Confusion matrix of each image, for each row of `metrics.json`."""
PANELS = "panels.png"
"""Picture of a few images with their truth and prediction."""


@dataclass(frozen=True)
class ScoredRow:
    """The score of one product under one protocol.

    Args:
        protocol: Protocol id (`docs/protocol.md`).
        image_labels: Whether image labels were known at inference: `given` or `none`.
        scales: `ss` (single scale), `ms` (multi-scale), or `own` for a read-out that a paper published.
        post: Post-processing: `raw`, `crf` or the name of a refiner; or the name of the published read-out.
        rule: How the background threshold was set: `fixed`, `heldout`, `oracle`, or `na` for masks.
        threshold: Background threshold in [0, 1]; None for masks.
        checkpoint: How the checkpoint was chosen: `last`.
        n_images: Number of images counted.
        miou: Mean IoU in [0, 1]; None if no pixel counts.
        iou: IoU per class in [0, 1], background first; None for a class that occurs in neither ground truth
            nor prediction.
        false_positive_background: Share of true background predicted as an object; None without background.
        false_negative_background: Share of true objects predicted as background; None without objects.
        absent: Names of the classes without an IoU.
        headline: Whether the leaderboard ranks by this row.
        boundary_iou: IoU per class as `iou`, over the pixels near a boundary of the truth
            (`metrics.boundary`); None for thresholds that were chosen on data, and in files of earlier
            versions.
    """

    protocol: str
    image_labels: str
    scales: str
    post: str
    rule: str
    threshold: float | None
    checkpoint: str
    n_images: int
    miou: float | None
    iou: tuple[float | None, ...]
    false_positive_background: float | None
    false_negative_background: float | None
    absent: tuple[str, ...]
    headline: bool
    boundary_iou: tuple[float | None, ...] | None = None


@dataclass(frozen=True)
class Metrics:
    """Content of `metrics.json`.

    Args:
        dataset: Name of the data set.
        split: Scored split.
        product: `seed`, `pseudo_mask` or `segmentation`.
        class_names: Foreground classes; the IoU of a row has one entry more, for background.
        rows: The scores; row i is entry i of `confusions.npz`.
        curve: Of seeds: `threshold` and `miou` on all images, two lists of the same length. None for masks.
    """

    dataset: str
    split: str
    product: str
    class_names: tuple[str, ...]
    rows: tuple[ScoredRow, ...]
    curve: dict[str, list[float]] | None


def score_name(product: str, row: ScoredRow, refiner: str | None = None) -> str:
    """A short name of a score: `seed_fixed`, `refined_irn`, `ss_raw`, `own_<name of a published read-out>`.

    Args:
        product: `seed`, `pseudo_mask` or `segmentation`.
        row: The score.
        refiner: Of pseudo masks; the post-processing of the row has the settings of the method, too.
    """
    if product == "seed":
        return f"seed_{row.rule}"
    return f"refined_{refiner or row.post}" if product == "pseudo_mask" else f"{row.scales}_{row.post}"


def write_metrics(stage: Path, metrics: Metrics) -> None:
    """Write `metrics.json` into a stage folder."""
    write_json(stage / METRICS, asdict(metrics))


def read_metrics(stage: Path) -> Metrics:
    """Read `metrics.json` of a stage folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is no `metrics.json`, or an earlier version of wsss_bench wrote it.
    """
    path = stage / METRICS
    content = read_json(path)
    try:
        rows = tuple(_row(**values) for values in content["rows"])
        names = tuple(content["class_names"])
        if any(
            len(values) != len(names) + 1
            for row in rows
            for values in (row.iou, row.boundary_iou)
            if values is not None
        ):
            raise KeyError("an IoU for each class and for background")
        return Metrics(**{**content, "class_names": names, "rows": rows})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} does not have the expected keys ({error}); {how_to_mend(path)}") from error


def _row(
    iou: list[float | None],
    absent: list[str],
    boundary_iou: list[float | None] | None = None,
    **values: Any,
) -> ScoredRow:
    near = None if boundary_iou is None else tuple(boundary_iou)
    return ScoredRow(iou=tuple(iou), absent=tuple(absent), boundary_iou=near, **values)
