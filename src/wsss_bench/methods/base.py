"""The contract of a method: *image (+ image labels, + reference images) -> one score map per class*.

A method defines its networks and losses only. Training loop, logging and optimiser are here, multi-scale
inference is in `inference.py`, and files are written by the stages.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, final

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision

from wsss_bench.inference import Product, logits_of
from wsss_bench.methods.checkpoint import check_checkpoint, qualified_name
from wsss_bench.methods.gradient_guard import GradientGuard
from wsss_bench.methods.hyperparameters import KeepsArguments
from wsss_bench.methods.image_prediction import ImagePrediction, PredictionSettings, predict_image
from wsss_bench.methods.loading import load_method, record_method
from wsss_bench.methods.optim import OptimConfig, build_optimizer, build_schedule, optims_of
from wsss_bench.metrics.miou import MeanIoU
from wsss_bench.placement import Placement, Stretched
from wsss_bench.ranges import check_range
from wsss_bench.types import Batch, ImageBatch, MaskBatch, Reference, view_of

Trained = TypeVar("Trained", bound="Method")
MAKERS: dict[Product, str] = {"seed": "seed_maps", "segmentation": "segmentation_logits"}
"""What makes a product."""
TOTAL = "total"
"""Name of the sum of the losses among the logged ones."""


class Method(KeepsArguments, LightningModule, ABC):
    """Base of every method and segmenter.

    A subclass sets `supervision` and `batch_type`, and defines `training_loss` (if it is trained) and
    `seed_maps`, `segmentation_logits` or both. Multi-stage methods have seeds, single-stage methods a
    segmentation.

    Args:
        class_names: Foreground classes, in label order; linked from the data module.
        optim: Optimiser and schedule.
    """

    supervision: ClassVar[Literal["none", "image", "image+text", "caption", "mask"]]
    batch_type: ClassVar[type[Batch] | None]
    """Type of its training batches; None for a method that is not trained."""
    open_vocabulary: ClassVar[bool] = False
    """True if the classes at inference may differ from those of the training (which may have had none)."""
    gradients_at_inference: ClassVar[bool] = False
    """True if `seed_maps` or `segmentation_logits` differentiate (GradCAM): inference then runs them with
    gradients, detaches what they return and drops the gradients of the parameters.
    """
    independent_images: ClassVar[bool] = True
    """False if the maps of an image depend on the other images of its batch (a mean over the batch): each
    image, with its mirror image, then goes through the network alone.
    """
    idle_at_first: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of parameters that no loss reaches at the first steps: behind a gate that is 0
    before training, or used by a term that starts later. At the end of a training a loss must reach them.
    """
    seeds_with_background: ClassVar[bool] = False
    """True if `seed_maps` puts a background score in front, `(B, 1 + C, h, w)`: a pixel is foreground only
    where its best class exceeds it, besides the threshold. It is in [0, 1], comparable with class maps that
    are divided by their maximum; over scales and mirror images it is averaged.
    """
    seed_placement: Placement = Stretched()
    """How the maps of `seed_maps` lie on the image (`placement.py`)."""
    segmentation_placement: Placement = Stretched()
    """How `segmentation_logits` lie on the image: as in the loss that they are trained with."""
    prediction_settings: PredictionSettings = PredictionSettings()
    """How `predict` applies the method: as in its checkpoint. Assign other ones to predict otherwise."""

    def __init__(self, class_names: Sequence[str], optim: OptimConfig = OptimConfig()) -> None:
        super().__init__()
        if not class_names and not self.open_vocabulary:
            raise ValueError("class_names is empty; the data source must name at least one foreground class")
        self.class_names = tuple(class_names)
        self.optim = optim
        self.mean_average_precision = MultilabelAveragePrecision(
            len(self.class_names), average="macro", validate_args=False
        )
        self.mean_iou = MeanIoU(len(self.class_names) + 1)
        self._gradient_guard = GradientGuard()
        self._set_progress: float | None = None
        self._set_total_steps: int | None = None

    # What a subclass defines.

    def training_loss(self, batch: Any) -> dict[str, Tensor]:
        """Loss terms of one batch by name, scalars >= 0 that are already weighted; their sum is minimised."""
        raise TypeError(
            f"{type(self).__name__} does not train; use it with `wsss-bench predict` and no checkpoint"
        )

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        """Foreground activations at one scale.

        Args:
            image: `(B, 3, H, W)` in [0, 1].
            labels: `(B, C)` multi-hot image labels, where they are given.
            references: Other images of the classes (`types.Reference`), for methods that compare images.

        Returns:
            `(B, C, h, w)`, >= 0; with `seeds_with_background` `(B, 1 + C, h, w)`.
        """
        raise TypeError(f"{type(self).__name__} has no seeds; it predicts product `segmentation` only")

    def segmentation_logits(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> `(B, 1 + C, h, w)` logits, background first, without image labels."""
        raise TypeError(f"{type(self).__name__} has no segmentation; it predicts product `seed` only")

    def class_logits(self, image: Tensor) -> Tensor | None:
        """`(B, 3, H, W)` in [0, 1] -> `(B, C)` image-level logits for the monitored mAP, if it has any."""
        return None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups for `optim.build_optimizer`; the default is one group of all parameters.

        A group with a key `optim` has an optimiser and a schedule of its own; all of them step together.
        """
        return [{"params": list(self.parameters())}]

    def after_step(self) -> None:
        """Called after each step of the optimiser, without gradient: the place to update an EMA teacher.

        All ranks have the same new weights here, and `global_step` is still the number of the step. Keep a
        teacher as a module without `requires_grad`, so that it is in the checkpoint: a resumed training then
        equals an uninterrupted one, and prediction has it.
        """

    # Where a training is.

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training; outside of one, the value that was set, or 1.

        It follows from `trainer.max_steps` or `max_epochs` and the data, and is the same on all ranks and
        after a resume.
        """
        if self._set_total_steps is not None:
            return self._set_total_steps
        return int(self.trainer.estimated_stepping_batches) if self._is_fitting() else 1

    @total_steps.setter
    def total_steps(self, value: int) -> None:
        if value < 1:
            raise ValueError(f"total_steps is at least 1, got {value}")
        self._set_total_steps = value

    @property
    def progress(self) -> float:
        """Share of the steps that are done, in [0, 1], for ramps; outside of a training 0, or what was set.

        A value that is set holds in a training too, until it is set to None: tests look at a later moment so.
        """
        if self._set_progress is not None:
            return self._set_progress
        return min(1.0, self.global_step / self.total_steps)

    @progress.setter
    def progress(self, value: float | None) -> None:
        check_range("progress", value, 0, 1)
        self._set_progress = value

    @property
    def global_step(self) -> int:
        """Number of optimiser steps that are done; with a `progress` that was set, those of that moment."""
        if self._set_progress is not None:
            return int(self._set_progress * self.total_steps)
        return int(super().global_step)

    def _is_fitting(self) -> bool:
        return self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING

    # What is the same for all methods.

    @final
    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Sum and log the losses of one batch.

        Raises:
            TypeError: the batch is not of `batch_type`.
        """
        if batch_index == 0:
            self._check_batch(batch)
        losses = self.training_loss(batch)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        self._gradient_guard.add_batch(losses, batch.image_ids)
        logged = {**losses, TOTAL: total}
        self.log_dict({f"train/{name}": loss.detach() for name, loss in logged.items()}, batch_size=1)
        return total

    @final
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Stop before a step whose gradient is not finite (`gradient_guard.py`).

        Raises:
            ValueError: such a step; on a GPU up to 50 steps later, but before a checkpoint is written.
        """
        # with float16, a gradient scaler leaves such steps out and lowers its scale
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:
            self._gradient_guard.add_step(self.parameters(), self.global_step)

    @final
    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step of the optimiser, then `after_step`."""
        super().optimizer_step(*args, **kwargs)
        with torch.no_grad():
            self.after_step()

    def monitor(self, name: str, value: Tensor) -> None:
        """Log a number of this step that is no loss, as `train/<name>`; outside of a training, do nothing."""
        if self._trainer is not None:
            self.log(f"train/{name}", value, batch_size=1)

    @final
    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Update the monitored metrics; reported scores come from the evaluate stage only."""
        if isinstance(batch, ImageBatch) and (logits := self.class_logits(batch.image)) is not None:
            self.mean_average_precision.update(logits.sigmoid(), batch.labels.long())
        elif isinstance(batch, MaskBatch):
            logits = logits_of(self, batch.image)
            logits = self.segmentation_placement.draw(logits, batch.image.shape[-2:], batch.mask.shape[1:])
            self.mean_iou.update(logits.argmax(1), batch.mask)

    @final
    def on_validation_epoch_end(self) -> None:
        """Log and reset the monitored metrics that were updated."""
        for name, metric in (("mAP", self.mean_average_precision), ("mIoU", self.mean_iou)):
            if metric.update_called:
                value = metric.compute()
                self.log(
                    f"monitor/{name}", value["miou"] if isinstance(value, dict) else value, sync_dist=False
                )
                metric.reset()

    @final
    def configure_optimizers(self) -> Any:
        """Optimiser of `optim`, and its schedule, which is updated after every step."""
        groups = self.parameter_groups()
        optimizer = build_optimizer(groups, self.optim)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(optimizer, optims_of(groups, self.optim), steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @final
    def on_fit_start(self) -> None:
        """Store the random seed of the run."""
        self._random_seed = torch.initial_seed()

    @final
    def on_train_epoch_start(self) -> None:
        """Set the random seed of the epoch, so that a resumed run equals an uninterrupted one."""
        torch.manual_seed(self._random_seed + 1_000_003 * self.current_epoch + self.global_rank)

    @final
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to the checkpoint what builds the method again, once the gradients before it are checked."""
        self._gradient_guard.check()
        record_method(self, checkpoint)

    @final
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint fits; see `check_checkpoint`."""
        names = None if self.open_vocabulary else self.class_names
        check_checkpoint(checkpoint, qualified_name(type(self)), names)

    # A trained method in Python.

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls: type[Trained],
        checkpoint_path: Path | str,
        map_location: torch.device | str = "cpu",
        modules: Sequence[str] = (),
        **changed: Any,
    ) -> Trained:
        """A trained method, as `wsss_bench.load` gives it; it must be of this class or of a subclass.

        Args:
            checkpoint_path: Train stage or checkpoint.
            map_location: Device of the method.
            modules: As in `wsss_bench.load`; the module of this class needs no name.
            **changed: Hyper-parameters that differ from those in the checkpoint.

        Raises:
            FileNotFoundError, ValueError: as `wsss_bench.load`.
        """
        return load_method(Path(checkpoint_path), cls, map_location, modules, **changed)

    def predict(
        self,
        image: Image.Image | np.ndarray | str | Path,
        labels: Sequence[str] | None = None,
        *,
        product: Product | None = None,
        scales: Literal["ss", "ms"] = "ss",
        threshold: float | None = None,
        references: Sequence[Reference] = (),
    ) -> ImagePrediction:
        """Segment one image as the predict stage does, in evaluation mode.

        Args:
            image: A file, a PIL image, or `(H, W, 3)` uint8 RGB.
            labels: Names of the classes that the image shows, for seeds. None: those that the classifier of
                the method finds; all of them if it has no classifier, with a warning.
            product: `seed`, or `segmentation`, which sees no labels. None: a segmentation if the method makes
                one and no labels are given.
            scales: Of a segmentation: `ss` (scale 1) or `ms` (mean over scales and mirror images).
            threshold: Background threshold of seeds; None for that of `prediction_settings`.
            references: Other images of the labelled classes, for seeds of methods that compare images.

        Returns:
            Mask and score maps at the size of the image, before any CRF.

        Raises:
            FileNotFoundError: no such file.
            TypeError, ValueError: no 8 bit RGB image, an unknown class, no threshold, or a product that the
                method does not make.
        """
        return predict_image(self, image, labels, product, scales, threshold, references)

    @classmethod
    def makes(cls, product: Product) -> bool:
        """Whether the method has seeds, or a segmentation."""
        return cls.defines(MAKERS[product])

    @classmethod
    def defines(cls, name: str) -> bool:
        """Whether the class has a method of its own in the place of one of `Method`."""
        return getattr(cls, name) is not getattr(Method, name)

    def _check_batch(self, batch: Batch) -> None:
        if self.batch_type is not None and not isinstance(batch, self.batch_type):
            raise TypeError(
                f"{type(self).__name__} trains on {self.batch_type.__name__}, but the data module yields "
                f"{type(batch).__name__}; set data.view: {view_of(self.batch_type)}"
            )
