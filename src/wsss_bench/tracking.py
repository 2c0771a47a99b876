"""Weights & Biases: one offline run for each stage (group = experiment, job type = kind of stage).

`WANDB_MODE=online` sends the same content to a server, `WANDB_MODE=disabled` writes nothing. The leaderboard
never reads from here; its numbers come from `metrics.json`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsss_bench.artifacts.metrics import PANELS, Metrics
from wsss_bench.artifacts.run import StageInfo

PROJECT = "wsss_bench"
CONSOLE = "wrap"
"""How W&B copies the output of a stage. Its default puts a terminal of its own in the place of a log file or
pipe, so that other packages print colours and progress bars there."""

FAST: dict[str, Any] = {"x_save_requirements": False}
"""Settings of every run. W&B would list all installed packages at each start, which takes longer than to
score 60 masks; `stage.json` has the versions of those that can change a result."""


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


@contextmanager
def tracked_training(out: Path, info: StageInfo, config: dict[str, Any]) -> Iterator[Any]:
    """Lightning's W&B logger for a training that runs in the body; None when tracking is disabled."""
    if mode() == "disabled":
        yield None
        return
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    arguments = run_arguments(out, info.kind or "train", info, config)
    status = 1
    try:
        yield WandbLogger(
            save_dir=arguments.pop("dir"),
            offline=arguments.pop("mode") == "offline",
            log_model=False,
            settings=wandb.Settings(quiet=True, console=CONSOLE, **FAST),
            **arguments,
        )
        status = 0
    finally:
        # else W&B's own process does so when this one is gone, and prints in colours into the log
        wandb.finish(exit_code=status)


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
    settings = wandb.Settings(silent=True, console=CONSOLE, x_disable_stats=True, **FAST)
    with wandb.init(**arguments, settings=settings) as run:
        table = wandb.Table(columns=["protocol", "class", "iou"])
        names = ("background", *metrics.class_names)
        for row in metrics.rows:
            for name, value in zip(names, row.iou, strict=True):
                table.add_data(row.protocol, name, value)
            run.summary[row.protocol] = row.miou
        panels = wandb.Image(str(out / PANELS), caption="image, truth, prediction")
        run.log({"per_class": table, "panels": panels})
