"""How many steps a training has, and how many pixels a prediction sends through its network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from wsss_bench.artifacts.data_reads import BATCH_SIZE
from wsss_bench.inference_config import size_at

SIZE_KEYS = ("stretch_to", "short_side", "long_side", "squash")
"""Keys of `inference` that decide on the size of an image (`inference_config.Sizes`)."""


@dataclass(frozen=True)
class Schedule:
    """Length of a training.

    Args:
        steps: Optimiser steps.
        validations: How often the validation split is predicted.
    """

    steps: int
    validations: int


def schedule_of(data: Mapping[str, Any], trainer: Mapping[str, Any], images: int) -> Schedule:
    """The schedule of a train stage.

    Args:
        data: `data` of its configuration.
        trainer: `trainer` of its configuration.
        images: Images of the training split.
    """
    batch = int(data.get("global_batch_size", BATCH_SIZE))
    length = images // batch if data.get("drop_last", True) else math.ceil(images / batch)
    length = max(1, int(data.get("epoch_length") or length))
    limit = trainer.get("limit_train_batches")
    if limit is not None:
        length = max(1, min(length, limit) if isinstance(limit, int) else int(length * limit))
    most = trainer.get("max_steps", -1)
    epochs = trainer.get("max_epochs")
    ends = [most] if most not in (None, -1) else []
    ends += [epochs * length] if epochs not in (None, -1) else []
    steps = int(min(ends, default=0))
    every = trainer.get("check_val_every_n_epoch") or 1
    validates = trainer.get("limit_val_batches") != 0 and data.get("val_split", "val") is not None
    return Schedule(steps, steps // length // every if validates else 0)


def passes_of(
    config: Mapping[str, Any], product: str, size: tuple[int, int]
) -> Iterator[tuple[int, float, int]]:
    """The forward passes of one image: images of a batch, megapixels, and how many such passes.

    Args:
        config: Of a predict stage.
        product: `seed` or `segmentation`.
        size: Height and width of the image.
    """
    inference = config.get("inference") or {}
    sizes = SimpleNamespace(**{key: inference.get(key) for key in SIZE_KEYS})
    if product == "seed":
        views = [(scale, 2 if inference.get("flip") else 1) for scale in inference.get("scales") or [1.0]]
    else:
        multi = config.get("scales", [0.75, 1.0, 1.25])
        views = [(scale, 2 if scale in multi else 1) for scale in sorted({1.0, *multi})]
        for readout in (config.get("readouts") or {}).values():
            views += [(scale, 2) for scale in readout.get("scales") or [1.0]]
    for scale, images in views:
        rows, columns = size_at(*size, scale, sizes)
        number = 1
        if inference.get("window"):
            window, stride = inference["window"], inference["window_stride"]
            number = math.prod(math.ceil(max(side - window, 0) / stride) + 1 for side in (rows, columns))
            rows, columns = min(rows, window), min(columns, window)
        yield images, rows * columns / 1e6, number
