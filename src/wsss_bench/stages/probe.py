"""A few real steps of a planned training, to measure what a step costs here. Nothing of it is kept."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from wsss_bench.artifacts.data_reads import BATCH_SIZE
from wsss_bench.artifacts.files import is_complete, write_mask
from wsss_bench.artifacts.layout import MASKS
from wsss_bench.data.sources.base import Source
from wsss_bench.stages.fit import FitCLI, check_training
from wsss_bench.stages.lightning_cli import callbacks_of

STEPS, FIRST = 20, 5
"""Steps of a probe, and how many of them are not timed: the first ones are slow."""


class FirstImages(Source):
    """The first images of each split of another source."""

    def __init__(self, source: Source, number: int) -> None:
        self._source, self._number = source, number
        self.class_names, self.has_background = source.class_names, source.has_background

    def ids(self, split: str) -> list[str]:
        return self._source.ids(split)[: self._number]

    def image(self, image_id: str) -> np.ndarray:
        return self._source.image(image_id)

    def labels(self, image_id: str) -> np.ndarray:
        return self._source.labels(image_id)

    def mask(self, image_id: str) -> np.ndarray:
        return self._source.mask(image_id)


class StepClock(Callback):
    """Notes when each step has ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if module.device.type == "cuda" and len(self.ends) in (FIRST - 1, STEPS - 1):
            torch.cuda.synchronize(module.device)
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Of one step."""
        return (self.ends[-1] - self.ends[FIRST - 1]) / (len(self.ends) - FIRST)


def probe(config: dict[str, Any], folder: Path, ranks: int = 1) -> dict[str, float | None]:
    """Train for 20 steps on one device, with its share of the batch.

    Args:
        config: Of a train stage. Initial weights of another stage are not needed; pseudo masks that do not
            exist yet are drawn.
        folder: Temporary folder.
        ranks: Devices that the stage is planned for.

    Returns:
        `seconds` of one step, and `memory`: the largest allocation on a GPU in bytes, None on a CPU.

    Raises:
        FileNotFoundError, ValueError: the training cannot start.
    """
    masks = config.get("masks")
    drawn = masks is not None and not is_complete(masks)
    cli = FitCLI(_short(config, folder, ranks) | ({"masks": str(folder)} if drawn else {}))
    data = cli.datamodule
    if drawn:
        data.source = FirstImages(data.source, STEPS * data.global_batch_size)
        for image_id in data.source.ids(data.train_split):
            write_mask(folder / MASKS, image_id, _drawn_mask(data.source.image(image_id).shape[:2]))
    check_training(cli)
    clock = StepClock()
    callbacks_of(cli.trainer).append(clock)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    cli.trainer.fit(cli.model, datamodule=data)
    on_gpu = cli.trainer.strategy.root_device.type == "cuda"
    return {"seconds": clock.seconds, "memory": float(torch.cuda.max_memory_allocated()) if on_gpu else None}


def probe_all(trainings: list[dict[str, Any]], folder: Path, done: Callable[[str], None]) -> dict[str, Any]:
    """Probe trainings one after the other.

    Args:
        trainings: Each with `key`, `name`, `config` and `ranks`.
        folder: Temporary folder.
        done: Called with a sentence on each.

    Returns:
        What `probe` returns, by key, without those that could not run.
    """
    from wsss_bench.errors import explain

    found = {}
    for number, training in enumerate(trainings):
        try:
            result = probe(training["config"], folder / str(number), training["ranks"])
        except Exception as error:  # noqa: PERF203 (the others are still measured)
            done(f"{training['name']}: not measured: {explain(error) or f'{type(error).__name__}: {error}'}")
        else:
            found[training["key"]] = result
            memory = "" if result["memory"] is None else f", {result['memory'] / 2**30:.1f} GiB"
            done(f"{training['name']}: {result['seconds']:.3f} s a step{memory}")
    return found


def _short(config: dict[str, Any], folder: Path, ranks: int) -> dict[str, Any]:
    short = copy.deepcopy(config)
    data, trainer = short["data"], short["trainer"]
    data["global_batch_size"] = max(1, data.get("global_batch_size", BATCH_SIZE) // ranks)
    trainer |= {"devices": 1, "num_nodes": 1, "strategy": "auto", "limit_val_batches": 0}
    trainer |= {"max_steps": STEPS, "max_epochs": -1, "logger": False}
    return {key: value for key, value in short.items() if key != "stage"} | {
        "out": str(folder),
        "warm_start": None,
    }


def _drawn_mask(size: tuple[int, ...]) -> np.ndarray:
    """Background beside the first class, with an undecided border."""
    mask = np.zeros(size, np.uint8)
    mask[:, size[1] // 2 :] = 1
    mask[:, size[1] // 2] = 255
    return mask
