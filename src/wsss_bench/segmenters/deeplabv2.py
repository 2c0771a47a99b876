"""DeepLabV2 on ResNet-101, the usual segmentation network of multi-stage WSSS.

Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
Connected CRFs", TPAMI 2018, https://arxiv.org/abs/1606.00915, as trained by
https://github.com/kazuto1011/deeplab-pytorch. One network processes the image at scales 1, 0.5 and 0.75
(MSC). The maximum of the logits is the prediction; the loss is the sum over all four outputs.

Departures: timm's ResNet has the stride of a bottleneck in the 3x3 convolution and its max-pooling has no
ceil mode; the Caffe network has the stride in the first 1x1 convolution and uses ceil mode, so that map sizes
may differ by one. Images are RGB with ImageNet normalisation, not BGR minus a mean. Checkpoints of
deeplab-pytorch have other parameter names and do not load. Ten images are one batch, not two of five: the
loss is a mean over the pixels of all ten.
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
    """Dilated ResNet with atrous spatial pyramid pooling (ASPP) and multi-scale inputs (MSC).

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser of the backbone.
        backbone: timm name of a network (`nn/backbone.py`), or a recipe file.
        weights: `imagenet`, the path of a checkpoint (`nn/checkpoints.py`), or None.
        output_stride: Stride of the features.
        rates: Atrous rate of each ASPP branch, in pixels of the feature map.
        scales: Scales of the image in addition to 1.
        loss: `cross_entropy`, or `balanced` between background and foreground (CLIMS with ImageNet weights).
        head_lr_scale: Learning rate of the head's weights divided by that of the backbone; biases have twice
            that rate.
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
        return multi_scale_logits(self._logits, self.backbone.normalize(image), self.scales)
