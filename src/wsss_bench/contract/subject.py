"""The method under test: built once from its YAML, copied for each check."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsss_bench.contract.building import build
from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.inference import Product
from wsss_bench.methods.base import MAKERS, Method
from wsss_bench.methods.optim import build_optimizer
from wsss_bench.plan.config import Deviation, MethodFile
from wsss_bench.plan.yaml_files import merge
from wsss_bench.types import Batch, CaptionBatch, GroupBatch, ImageBatch, MaskBatch, PairBatch

BATCH_SIZE = 4
STEPS = 4
"""Number of steps of the short trainings in memory."""
LATE = 1_000_000
"""Step at which the losses are looked at with all terms that start later."""


class Subject:
    """A method with what the checks need of it.

    Args:
        name: For messages.
        content: Its file, merged with the overlay of the mini world, with a trainer for the CPU.
        world: Folder of the small mini world.
    """

    def __init__(self, name: str, content: MethodFile, world: Path) -> None:
        self.name = name
        self.content = content
        self.world = world

    def config(self, out: Path, **changes: Any) -> dict[str, Any]:
        """Configuration of a stage, by default a training of two steps; `changes` replace its keys."""
        source = {
            "class_path": "wsss_bench.data.sources.voc.VOC",
            "init_args": {"root": str(self.world / "voc"), "vocabulary": "mini"},
        }
        model = self.content.model
        short = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 2, "log_every_n_steps": 1}
        return {
            "seed_everything": 0,
            "model": {"class_path": model.class_path, "init_args": model.init_args},
            "data": merge(self.content.data, {"source": source, "global_batch_size": BATCH_SIZE}),
            "trainer": merge(self.content.trainer, short, changes.pop("trainer", {})),
            "out": str(out),
            **changes,
        }

    @cached_property
    def _built(self) -> tuple[Method, WSSSDataModule]:
        return build(self.config(Path("nothing is written")))  # most of a second

    @property
    def kind(self) -> type[Method]:
        """Class of the method."""
        return type(self._built[0])

    @property
    def data(self) -> WSSSDataModule:
        """The data module, with the view of the method."""
        return self._built[1]

    @property
    def trains(self) -> bool:
        """Whether it has a train stage."""
        return self.content.bench.trains

    def deviation(self, check: str) -> Deviation | None:
        """What the method's file says about a check."""
        return self.content.bench.contract.get(check)

    @property
    def products(self) -> list[Product]:
        """What the class makes, seeds first."""
        return [product for product in MAKERS if self.kind.makes(product)]

    def fresh(self, *, late: bool = False) -> Method:
        """A copy with the first weights; `late`: at the end of a training, where all terms have started."""
        torch.manual_seed(0)
        method = deepcopy(self._built[0])
        if late:
            method.total_steps, method.progress = LATE, 1.0
        return method

    @cached_property
    def batch(self) -> Batch:
        """A training batch."""
        return next(iter(self.data.train_dataloader()))

    @cached_property
    def trained(self) -> tuple[Method, list[float]]:
        """A copy after a few steps on `batch`, and the loss before each of them and after the last."""
        method = self.fresh(late=True)
        return method, train(method, self.batch, STEPS)

    @cached_property
    def images(self) -> tuple[Tensor, Tensor]:
        """Images `(B, 3, H, W)` with labels `(B, C)`: of the training batch if this package has its type, or
        else of the split.
        """
        batch = self.batch if self.trains else None
        if isinstance(batch, PairBatch):
            batch = batch.first
        elif isinstance(batch, GroupBatch):
            batch = batch.images[0]
        if not isinstance(batch, ImageBatch | CaptionBatch | MaskBatch):
            ids = self.data.source.ids("train")[:BATCH_SIZE]
            images = [torch.tensor(self.data.source.image(image_id)) for image_id in ids]
            return torch.stack(images).permute(0, 3, 1, 2).float() / 255, self._labels_of(ids)
        known = batch.labels if isinstance(batch, ImageBatch) else self._labels_of(batch.image_ids)
        return batch.image, known

    def _labels_of(self, image_ids: Sequence[str]) -> Tensor:
        return torch.stack([torch.tensor(self.data.source.labels(image_id)) for image_id in image_ids])


def total(losses: dict[str, Tensor]) -> Tensor:
    """Sum of the loss terms, as in a training."""
    return torch.stack([loss.float() for loss in losses.values()]).sum()


def train(method: Method, batch: Batch, steps: int, sign: float = 1.0) -> list[float]:
    """Train on one batch with the method's own optimiser at its full learning rate.

    Args:
        method: Changed in place.
        batch: The batch.
        steps: Number of steps.
        sign: -1 climbs the loss instead.

    Returns:
        The loss before each step, and after the last.
    """
    method.train()
    optimizer = build_optimizer(method.parameter_groups(), method.optim)
    values = []
    for _ in range(steps):
        loss = total(method.training_loss(batch))
        optimizer.zero_grad()
        (sign * loss).backward()
        method.on_after_backward()
        optimizer.step()
        with torch.no_grad():
            method.after_step()
        values.append(loss.item())
    with torch.no_grad():
        values.append(total(method.training_loss(batch)).item())
    return values
