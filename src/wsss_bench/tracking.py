"""Weights & Biases: one offline run for each stage (group = experiment, job type = kind of stage).

`WANDB_MODE=online` sends the same content to a server, `WANDB_MODE=disabled` writes nothing. The leaderboard
never reads from here; its numbers come from `metrics.json`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.metrics import PANELS, Metrics
from wsss_bench.artifacts.run import StageInfo

PROJECT = "wsss_bench"


def mode() -> str:
    """`offline`, `online` or `disabled`, from `WANDB_MODE`."""
    value = os.environ.get("WANDB_MODE", "offline")
    if value not in ("offline", "online", "disabled"):
        raise ValueError(f"WANDB_MODE is offline, online or disabled; got {value!r}")
    return value


def run_arguments(out: Path, kind: str, info: StageInfo, config: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `wandb.init` for a stage.

    The id of the run is the name of the stage folder, so that a resumed stage continues its run.
    """
    (out / "wandb").mkdir(parents=True, exist_ok=True)
    return {
        "project": os.environ.get("WANDB_PROJECT", PROJECT),
        "group": info.experiment or "by-hand",
        "job_type": kind,
        "name": f"{kind}-{info.title or out.name}",
        "id": out.name.replace("/", "-"),
        "resume": "allow" if mode() == "online" else None,
        "dir": str(out),
        "mode": mode(),
        "config": config,
    }


def trainer_logger(out: Path, kind: str, info: StageInfo, config: dict[str, Any]) -> Any:
    """Lightning's W&B logger for a stage, or False when tracking is disabled."""
    if mode() == "disabled":
        return False
    from lightning.pytorch.loggers import WandbLogger

    arguments = run_arguments(out, info.kind or kind, info, config)
    return WandbLogger(
        save_dir=arguments.pop("dir"),
        offline=arguments.pop("mode") == "offline",
        log_model=False,
        **arguments,
    )


def log_evaluation(out: Path, info: StageInfo, config: dict[str, Any], metrics: Metrics) -> None:
    """Log an evaluate stage as one run: the scores, a table of IoU per class, and the image panels.

    Args:
        out: The stage folder, which holds `panels.png`.
        info: What the plan records about the stage.
        config: The resolved configuration.
        metrics: Content of its `metrics.json`.
    """
    if mode() == "disabled":
        return
    import wandb

    arguments = run_arguments(out, "evaluate", info, config)
    with wandb.init(**arguments, settings=wandb.Settings(silent=True)) as run:
        table = wandb.Table(columns=["protocol", "class", "iou"])
        names = ("background", *metrics.class_names)
        for row in metrics.rows:
            for name, value in zip(names, row.iou, strict=True):
                table.add_data(row.protocol, name, value)
            run.summary[row.protocol] = row.miou
        panels = wandb.Image(str(out / PANELS), caption="image, truth, prediction")
        run.log({"per_class": table, "panels": panels})
