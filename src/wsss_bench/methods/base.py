"""The contract of a method: *image (+ image labels, + reference images) -> one score map per class*.

A method is one file that says what is new in it. Loop, logging, optimiser, multi-scale inference and writing to disk are
here, in `inference.py` and in the stages.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision

from wsss_bench.inference import InferenceConfig, Product, predict
from wsss_bench.methods.optim import OptimConfig, build_optimizer, build_schedule
from wsss_bench.metrics.miou import MeanIoU
from wsss_bench.types import ImageBatch, InferenceSample, MaskBatch, ScoreMaps

VIEWS = {
    "ImageBatch": "image",
    "PairBatch": "pair",
    "GroupBatch": "group",
    "CaptionBatch": "caption",
    "MaskBatch": "mask",
}


class Method(LightningModule, ABC):
    """Base of every method and segmenter.

    A subclass names its `supervision` and `batch_type`, writes `training_loss` (unless it does not train), and `seed_maps`,
    `segmentation_logits` or both: which of the two it has decides its pipeline.

    Args:
        class_names: Foreground classes, in label order; linked from the data module.
        optim: Optimiser and schedule.
    """

    supervision: ClassVar[Literal["none", "image", "image+text", "caption", "mask"]]
    batch_type: ClassVar[type | None]
    """What a training batch must be; None for a method that does not train."""
    open_vocabulary: ClassVar[bool] = False
    """Classes are only names to it: trained with any list of classes, or with none, it predicts any other."""

    def __init__(self, class_names: Sequence[str], optim: OptimConfig = OptimConfig()) -> None:
        super().__init__()
        if not class_names and not self.open_vocabulary:
            raise ValueError("class_names is empty; the data source must name at least one foreground class")
        self.class_names = tuple(class_names)
        self.optim = optim
        self.inference = InferenceConfig()
        self.product: Product = "seed"
        self.mean_average_precision = MultilabelAveragePrecision(
            len(self.class_names), average="macro", validate_args=False
        )
        self.mean_iou = MeanIoU(len(self.class_names) + 1)

    # What a method says.

    def training_loss(self, batch: Any) -> dict[str, Tensor]:
        """Named, already weighted scalars; their sum is minimised."""
        raise TypeError(
            f"{type(self).__name__} does not train; use it with `wsss-bench predict` and no checkpoint"
        )

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> `(B, C, h, w)` foreground activations >= 0, at one scale."""
        raise TypeError(f"{type(self).__name__} has no seeds; it predicts product `segmentation` only")

    def segmentation_logits(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> `(B, 1 + C, h, w)` logits, background first. Image labels are never passed here."""
        raise TypeError(f"{type(self).__name__} has no segmentation; it predicts product `seed` only")

    def class_logits(self, image: Tensor) -> Tensor | None:
        """`(B, 3, H, W)` -> `(B, C)` image-level logits where a method has them, for the mAP monitor."""
        return None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters with optional `lr_scale` and `weight_decay`."""
        return [{"params": list(self.parameters())}]

    # What is the same for all.

    @final
    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Sum, log and guard the losses of one batch."""
        if batch_index == 0:
            self._check_batch(batch)
        losses = self.training_loss(batch)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        if not torch.isfinite(total):
            values = ", ".join(f"{name}={loss.item():g}" for name, loss in losses.items())
            raise ValueError(
                f"the loss is not finite at step {self.global_step}: {values}; images {', '.join(_image_ids(batch))}. "
                "Lower the learning rate, or look at these images and their labels."
            )
        self.log_dict({f"train/{name}": loss.detach() for name, loss in losses.items()}, batch_size=1)
        return total

    @final
    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Update the monitors. They follow a training; a reported number comes from the evaluate stage only."""
        if isinstance(batch, ImageBatch) and (logits := self.class_logits(batch.image)) is not None:
            self.mean_average_precision.update(logits.sigmoid(), batch.labels.long())
        elif isinstance(batch, MaskBatch):
            logits = self.segmentation_logits(batch.image)
            logits = torch.nn.functional.interpolate(
                logits, batch.mask.shape[1:], mode="bilinear", align_corners=False
            )
            self.mean_iou.update(logits.argmax(1), batch.mask)

    @final
    def on_validation_epoch_end(self) -> None:
        """Log and reset the monitors that were fed."""
        for name, metric in (("mAP", self.mean_average_precision), ("mIoU", self.mean_iou)):
            if metric.update_called:
                value = metric.compute()
                self.log(
                    f"monitor/{name}", value["miou"] if isinstance(value, dict) else value, sync_dist=False
                )
                metric.reset()

    @final
    def predict_step(self, sample: InferenceSample, batch_index: int) -> ScoreMaps | dict[str, np.ndarray]:
        """One image at its own size -> seed or segmentation scores (`inference.predict`)."""
        return predict(self, sample, self.product, self.inference)

    @final
    def configure_optimizers(self) -> Any:
        """Optimiser and per-step schedule of `optim`."""
        optimizer = build_optimizer(self.parameter_groups(), self.optim)
        schedule = build_schedule(optimizer, self.optim, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @final
    def on_fit_start(self) -> None:
        """Remember the seed of the run."""
        self._run_seed = torch.initial_seed()

    @final
    def on_train_epoch_start(self) -> None:
        """Draw every epoch from its own stream, so that a run resumed at an epoch equals one that never stopped."""
        torch.manual_seed(self._run_seed + 1_000_003 * self.current_epoch + self.global_rank)

    @final
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down whose weights these are."""
        checkpoint["wsss_bench"] = {
            "method": _qualified_name(type(self)),
            "class_names": list(self.class_names),
        }

    @final
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another method or of other classes."""
        names = None if self.open_vocabulary else self.class_names
        check_checkpoint(checkpoint, _qualified_name(type(self)), names)

    def _check_batch(self, batch: Any) -> None:
        if self.batch_type is not None and not isinstance(batch, self.batch_type):
            raise TypeError(
                f"{type(self).__name__} trains on {self.batch_type.__name__}, but the data module yields "
                f"{type(batch).__name__}; set data.view: {VIEWS[self.batch_type.__name__]}"
            )


def check_checkpoint(
    checkpoint: dict[str, Any], method: str | None, class_names: Sequence[str] | None
) -> None:
    """Refuse a checkpoint that does not fit.

    Args:
        checkpoint: Content of a checkpoint file.
        method: Qualified name that must have written it; None where any method may (warm starts).
        class_names: Foreground classes that it must have been trained on, in this order; None where any will do.

    Raises:
        ValueError: not one of our checkpoints, another method, or another class list.
    """
    origin = checkpoint.get("wsss_bench")
    if origin is None:
        raise ValueError(
            "the checkpoint was not written by wsss_bench; give the `last.ckpt` of a train stage"
        )
    if method is not None and origin["method"] != method:
        raise ValueError(
            f"the checkpoint is of {origin['method']}, but the config asks for {method}; change one of them"
        )
    if class_names is not None and tuple(origin["class_names"]) != tuple(class_names):
        raise ValueError(
            f"the checkpoint knows {len(origin['class_names'])} classes ({', '.join(origin['class_names'])}), the data "
            f"source has {len(class_names)} ({', '.join(class_names)}); train on this source, or change data.source"
        )


def _qualified_name(method: type) -> str:
    return f"{method.__module__}.{method.__qualname__}"


def _image_ids(batch: Any) -> list[str]:
    if hasattr(batch, "first"):
        return [*batch.first.image_ids, *batch.second.image_ids]
    if hasattr(batch, "images"):
        return [image_id for images in batch.images for image_id in images.image_ids]
    return list(batch.image_ids)
