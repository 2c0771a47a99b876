"""What all segmenters share: a dilated backbone, a head, and the optimisation of DeepLab.

A segmenter is the second stage of a multi-stage method: a network trained on pseudo masks, which are not used
at inference. It is a `Method`, so that `fit` and `predict` run it. Trained on ground-truth masks, it gives an
upper bound for the second stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from wsss_bench.losses.segmentation import balanced_cross_entropy, cross_entropy
from wsss_bench.methods.base import Method
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.backbone import build_backbone
from wsss_bench.types import MaskBatch

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "balanced": balanced_cross_entropy,
}

DEEPLAB_OPTIM = OptimConfig(name="sgd", lr=2.5e-4, weight_decay=5e-4, momentum=0.9, power=0.9, decay_every=10)
"""Optimiser and schedule of DeepLabV2 as used in the WSSS literature."""


class Segmenter(Method):
    """Dilated backbone with frozen BatchNorm, and a head that a subclass sets.

    As in DeepLab, the head's weights have 10 times the learning rate of the backbone (`head_lr_scale`), its
    biases 20 times, without weight decay.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser and learning rate of the backbone; see above for the head.
        backbone: timm name of a network (`nn/backbone.py`), or a recipe file.
        weights: `imagenet`, the path of a checkpoint (`nn/checkpoints.py`), or None.
        output_stride: Stride of the features; removed strides are replaced by dilation.
        loss: `cross_entropy`, or `balanced` between background and foreground.
        head_lr_scale: Learning rate of the head's weights divided by that of the backbone; biases have twice
            that rate.
    """

    supervision = "mask"
    batch_type = MaskBatch
    head: nn.Module

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig,
        backbone: str,
        weights: str | None,
        output_stride: int,
        loss: Literal["cross_entropy", "balanced"],
        head_lr_scale: float,
    ) -> None:
        super().__init__(class_names, optim)
        self.backbone = build_backbone(backbone, weights, output_stride, freeze_bn=True, dilated=True)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
        self.loss = LOSSES[loss]
        self.head_lr_scale = head_lr_scale

    def parameter_groups(self) -> list[dict[str, Any]]:
        head = list(self.head.named_parameters())
        biases = [parameter for name, parameter in head if name.endswith("bias")]
        weights = [parameter for name, parameter in head if not name.endswith("bias")]
        return [
            {"params": [p for p in self.backbone.parameters() if p.requires_grad]},
            {"params": weights, "lr_scale": self.head_lr_scale},
            {"params": biases, "lr_scale": 2 * self.head_lr_scale, "weight_decay": 0.0},
        ]

    def _logits(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)`, normalised -> `(B, 1 + C, h, w)` at one scale."""
        return self.head(self.backbone(image)[-1])
