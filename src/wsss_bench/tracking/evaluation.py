"""The run of an evaluate stage: scores, IoU of each class, and a few images with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.metrics import Metrics, score_name
from wsss_bench.artifacts.run import StageInfo
from wsss_bench.tracking.images import Example, masked_images
from wsss_bench.tracking.runs import CONSOLE, harmless, mode, open_run
from wsss_bench.tracking.stage_runs import stage_header


def log_evaluation(
    out: Path, info: StageInfo, resolved: dict[str, Any], metrics: Metrics, examples: Sequence[Example]
) -> None:
    """Log an evaluate stage as one run.

    Its scores have the prefix `evaluate`, since those of a cell are in the run of the cell: a chart of
    `miou/...` counts none twice.

    Args:
        out: The stage folder.
        info: What the plan records about the stage.
        resolved: The resolved configuration.
        metrics: Content of its `metrics.json`.
        examples: Images to show.
    """
    if mode() == "disabled":
        return
    with harmless("run of this stage"):
        import wandb

        ranking = next((row.protocol for row in metrics.rows if row.headline), None)
        header = stage_header(out, "evaluate", info, resolved, ranking)
        table = wandb.Table(columns=["score", "class", "iou"])
        names = ("background", *metrics.class_names)
        with open_run(out, header, goes_on=True, silent=True, console=CONSOLE, x_disable_stats=True) as run:
            for row in metrics.rows:
                score = score_name(metrics.product, row, info.facts.get("refiner"))
                run.summary[f"evaluate/{score}"] = percent(row.miou)
                for name, value in zip(names, row.iou, strict=True):
                    table.add_data(score, name, percent(value))
            images = masked_images(examples, metrics.class_names)
            run.log({"per_class": table, f"images/{metrics.split}": images})


def percent(share: float | None) -> float | None:
    """A share in [0, 1] in percent, as the table has it."""
    return None if share is None else 100.0 * share
