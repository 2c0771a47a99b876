"""Mean IoU as a torchmetrics metric, with a confusion matrix that is summed over processes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from wsss_bench.metrics import functional
from wsss_bench.types import IGNORE


class MeanIoU(Metric):
    """Mean intersection over union of one confusion matrix over all pixels of a data set.

    Equal to `torchmetrics.classification.MulticlassJaccardIndex(average="macro", ignore_index=255)`, whose
    mean is also over the classes that occur in target or prediction. Differences: counts are int64, ratios
    are float64, a predicted 255 is an error, and the IoU of each class is returned too. The convention is
    described in `metrics.functional`.

    Args:
        num_classes: K, background included.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Tensor  # (K, K) int64, rows are the truth

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state(
            "confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum"
        )

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count the pixels of `(B, H, W)` class indices; target 255 is ignored.

        Raises:
            ValueError: different shapes, or a value outside 0..K-1 on a counted pixel.
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction is {tuple(prediction.shape)}, target {tuple(target.shape)}; they must agree"
            )
        counted = target != IGNORE
        truth, predicted = target[counted].long(), prediction[counted].long()
        for name, values in (("target", truth), ("prediction", predicted)):
            if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < self.num_classes:
                raise ValueError(
                    f"{name} holds values from {int(values.min())} to {int(values.max())} on counted pixels; "
                    f"expected 0..{self.num_classes - 1}"
                )
        codes = truth * self.num_classes + predicted
        self.confusion += torch.bincount(codes, minlength=self.num_classes**2).reshape(self.confusion.shape)

    def update_confusion(self, matrix: np.ndarray | Tensor) -> None:
        """Add a `(K, K)` integer confusion matrix counted elsewhere (`metrics.functional.confusion`)."""
        # torchmetrics sets these around `update`; without them `compute` warns or returns an old value
        self._update_count += 1
        self._computed = None
        self.confusion += torch.as_tensor(matrix, dtype=torch.int64, device=self.confusion.device)

    def compute(self) -> dict[str, Tensor]:
        """`miou` (), `iou` (K,) with NaN for an empty union, float64 in [0, 1]; `confusion` (K, K) int64."""
        matrix = self.confusion.cpu().numpy()
        return {
            "miou": torch.as_tensor(functional.mean_iou(matrix)),
            "iou": torch.as_tensor(functional.iou(matrix)),
            "confusion": self.confusion,
        }
