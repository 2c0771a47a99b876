"""DeepLab-LargeFOV on ResNet-101, the segmenter of MCIS, OAA and other methods of that time.

Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015,
https://arxiv.org/abs/1412.7062. The original is a VGG-16 with fc6 as a 3x3 convolution of dilation 12. On
ResNet-101 the same head follows the features of output stride 8. Images have one scale. Logits are enlarged
before the loss, and at test, as by the Caffe network that OAA and MCIS (Sun et al., ECCV 2020,
https://github.com/GuoleiSun/MCIS_wsss, deploy_resnet_fov.prototxt) train: the first cell lies on the first
pixel, and a crop of 321 pixels is covered exactly.

Departures: the ResNet of `deeplabv2.py` (see there) in place of the Caffe network; no dropout; the head
starts from PyTorch's default initialisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from wsss_bench.methods.optim import OptimConfig
from wsss_bench.nn.largefov import LargeFOV
from wsss_bench.placement import CornerAligned
from wsss_bench.segmenters.base import DEEPLAB_OPTIM, Segmenter
from wsss_bench.types import MaskBatch


class DeepLabLargeFOV(Segmenter):
    """Dilated ResNet with a LargeFOV head: one dilated convolution with a large field of view.

    Args:
        class_names: Foreground classes, in label order.
        optim: Optimiser of the backbone.
        backbone: timm name of a network (`nn/backbone.py`), or a recipe file.
        weights: `imagenet`, the path of a checkpoint (`nn/checkpoints.py`), or None.
        output_stride: Stride of the features.
        dilation: Dilation of the 3x3 convolution, in pixels of the feature map.
        width: Number of hidden channels of the head.
        loss: `cross_entropy`, or `balanced` between background and foreground.
        head_lr_scale: Learning rate of the head's weights divided by that of the backbone; its bias has twice
            that rate.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        optim: OptimConfig = DEEPLAB_OPTIM,
        backbone: str = "resnet101.tv_in1k",
        weights: str | None = "imagenet",
        output_stride: int = 8,
        dilation: int = 12,
        width: int = 1024,
        loss: Literal["cross_entropy", "balanced"] = "cross_entropy",
        head_lr_scale: float = 10.0,
    ) -> None:
        super().__init__(class_names, optim, backbone, weights, output_stride, loss, head_lr_scale)
        outputs = len(self.class_names) + 1
        self.head = LargeFOV(self.backbone.channels, outputs, dilation, width, (3, 1), bias=True)
        self.segmentation_placement = CornerAligned(output_stride)

    def training_loss(self, batch: MaskBatch) -> dict[str, Tensor]:
        logits = self.segmentation_logits(batch.image)  # (B, 1 + C, h, w)
        logits = self.segmentation_placement.draw(logits, batch.image.shape[-2:], batch.mask.shape[1:])
        return {"segmentation": self.loss(logits, batch.mask)}

    def segmentation_logits(self, image: Tensor) -> Tensor:
        return self._logits(self.backbone.normalize(image))  # (B, 1 + C, h, w)
