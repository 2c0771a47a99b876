"""The run of a training, as a logger of Lightning. Unlike the rest of `tracking`, it imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from wsss_bench.artifacts.run import StageInfo
from wsss_bench.tracking.runs import CONSOLE, harmless, mode, open_run
from wsss_bench.tracking.stage_runs import stage_header


class TrainingLogger(WandbLogger):
    """Lightning's logger of W&B on an open run. If W&B fails, the training goes on without it."""

    def __init__(self, run: Any) -> None:
        super().__init__(experiment=run, log_model=False)
        self._works = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._works:
            self._works = False
            with harmless("further curves of this training"):
                super().log_metrics(metrics, step)
                self._works = True

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """The config of the run has them, below `resolved`."""


@contextmanager
def tracked_training(out: Path, info: StageInfo, resolved: dict[str, Any]) -> Iterator[TrainingLogger | None]:
    """The logger of a training that runs in the body; None without W&B."""
    if mode() == "disabled":
        yield None
        return
    logger = None
    with harmless("run of this training"):
        header = stage_header(out, "train", info, resolved)
        logger = TrainingLogger(open_run(out, header, goes_on=True, quiet=True, console=CONSOLE))
    status = 1
    try:
        yield logger
        status = 0
    finally:
        if logger is not None:
            # else W&B's own process does so when this one is gone, and prints in colours into the log
            with harmless("end of this training"):
                logger.experiment.finish(exit_code=status)
