"""DeepLabV2 on ResNet-101: what multi-stage WSSS trains on its pseudo masks.

Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected
CRFs", TPAMI 2018, https://arxiv.org/abs/1606.00915, as https://github.com/kazuto1011/deeplab-pytorch trains it. The image is
seen at 1, 0.5 and 0.75 of its size by one network; their maximum is the prediction, and all four outputs are trained.

Departures: timm's ResNet has its stride in the 3x3 convolution and a max-pool without ceil mode, where the Caffe network has
them in the first 1x1 convolution and with it, so that sizes of maps may differ by one; images are RGB, normalised by
ImageNet's statistics, not BGR minus a mean. Checkpoints of deeplab-pytorch have other names and do not load. Ten images are
one batch, not two of five: the loss is a mean over the pixels of all ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from wsss_bench.losses.segmentation import resize_labels
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.segmenters.aspp import ASPP, multi_scale_logits
from wsss_bench.segmenters.base import DEEPLAB_OPTIM, Segmenter
from wsss_bench.types import MaskBatch


class DeepLabV2(Segmenter):
    """Dilated ResNet with atrous spatial pyramid pooling, over several scales.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser of the backbone.
        backbone: timm ResNet name, or a recipe file.
        weights: `imagenet`, a checkpoint path in timm's names, or None.
        output_stride: Stride of the features.
        rates: Dilation of each branch of the head, in pixels of the features.
        scales: Scales of the image beside 1.
        loss: `cross_entropy`, or `balanced` between background and foreground (CLIMS from ImageNet weights).
        head_lr_scale: Learning rate of the head's weights over that of the backbone; biases get twice as much.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = DEEPLAB_OPTIM,
        backbone: str = "resnet101.tv_in1k",
        weights: str | None = "imagenet",
        output_stride: int = 8,
        rates: tuple[int, ...] = (6, 12, 18, 24),
        scales: tuple[float, ...] = (0.5, 0.75),
        loss: Literal["cross_entropy", "balanced"] = "cross_entropy",
        head_lr_scale: float = 10.0,
    ) -> None:
        super().__init__(class_names, optim, backbone, weights, output_stride, loss, head_lr_scale)
        self.head = ASPP(self.backbone.channels, len(self.class_names) + 1, rates)
        self.scales = scales

    def training_loss(self, batch: MaskBatch) -> dict[str, Tensor]:
        outputs = self._outputs(batch.image)
        losses = [self.loss(logits, resize_labels(batch.mask, logits.shape[-2:])) for logits in outputs]
        return {"segmentation": torch.stack(losses).sum()}

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self._outputs(image)[-1]  # (B, 1 + C, h, w)

    def _outputs(self, image: Tensor) -> list[Tensor]:
        return multi_scale_logits(self._logits, self.normalize(image), self.scales)
