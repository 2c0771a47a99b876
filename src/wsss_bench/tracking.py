"""Weights & Biases: on by default, offline by default, one run a stage (group = experiment, job type = stage).

`WANDB_MODE=online` sends the same content to a server, `WANDB_MODE=disabled` writes nothing. Reported numbers never come
from here; they come from `metrics.json`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.run import StageInfo

PROJECT = "wsss_bench"


def mode() -> str:
    """`offline`, `online` or `disabled`, from `WANDB_MODE`."""
    value = os.environ.get("WANDB_MODE", "offline")
    if value not in ("offline", "online", "disabled"):
        raise ValueError(f"WANDB_MODE is offline, online or disabled; got {value!r}")
    return value


def run_arguments(out: Path, kind: str, info: StageInfo, config: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `wandb.init` for a stage; the run id is the stage, so that an attempt that resumes joins its run."""
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


def log_evaluation(out: Path, info: StageInfo, config: dict[str, Any], metrics: dict[str, Any]) -> None:
    """One run with the figures, a per-class table and the image panels of an evaluate stage.

    Args:
        out: The stage folder, which holds `panels.png`.
        info: What the plan knows of the stage.
        config: The resolved configuration.
        metrics: Content of its `metrics.json`.
    """
    if mode() == "disabled":
        return
    import wandb

    with wandb.init(
        **run_arguments(out, "evaluate", info, config), settings=wandb.Settings(silent=True)
    ) as run:
        table = wandb.Table(columns=["protocol", "class", "iou"])
        names = ["background", *metrics["class_names"]]
        for figure in metrics["figures"]:
            for name, value in zip(names, figure["iou"], strict=True):
                table.add_data(figure["protocol"], name, value)
            run.summary[figure["protocol"]] = figure["miou"]
        panels = wandb.Image(str(out / "panels.png"), caption="image, truth, prediction")
        run.log({"per_class": table, "panels": panels})
