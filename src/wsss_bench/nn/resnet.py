"""ResNet backbone of the CAM family and of DeepLab: timm's network in five stages.

Ahn et al., "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019,
https://github.com/jiwoon-ahn/irn

In the CAM family output stride 16 means stride 1 in the last stage **without dilation**, unlike timm's
`output_stride=16`, which dilates: with the published weights the two give different features. DeepLab gives
all 3x3 convolutions of a stage the same dilation, where timm gives the first one that of the stage before.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from wsss_bench.nn.stages import Stages
from wsss_bench.nn.timm_models import create_timm, family_of, own_normalize


def _remove_stride(layer: nn.Module) -> None:
    """Set all strides of a stage to 1."""
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
        elif isinstance(module, nn.AvgPool2d):
            module.kernel_size = module.stride = 1


def _dilate(layer: nn.Module, rate: int) -> None:
    """Set the dilation of all spatial convolutions, and the padding that keeps the output size."""
    for module in layer.modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
            module.dilation = (rate, rate)
            module.padding = tuple(rate * (size // 2) for size in module.kernel_size)


class ResNetStages(Stages):
    """timm ResNet returning the features of its five stages: stem with max-pool, and layers 1 to 4.

    Args:
        backbone: timm ResNet name, or a recipe file (`create_timm`).
        weights: `imagenet`, a checkpoint path, or None.
        output_stride: 4, 8, 16 or 32; the last stages lose their stride.
        frozen_stages: Number of stages, from the stem on, without gradient. IRN's CAM: 3 (stem, layer1,
            layer2); CLIMS: 1 (stem).
        freeze_bn: Always use running statistics (IRN). Otherwise ordinary BatchNorm, also in frozen stages
            (CLIMS).
        dilated: Dilate stages whose stride was removed (DeepLab: layers at 1, 1, 2, 4 for output stride 8),
            or not (CAM, IRN).

    Raises:
        ValueError: `backbone` is no ResNet of timm, or `frozen_stages` or `output_stride` is out of range.
    """

    def __init__(
        self,
        backbone: str = "resnet50.tv_in1k",
        weights: str | None = "imagenet",
        output_stride: int = 16,
        frozen_stages: int = 0,
        freeze_bn: bool = False,
        dilated: bool = False,
    ) -> None:
        super().__init__(freeze_bn)
        if not 0 <= frozen_stages <= 5:
            raise ValueError(f"frozen_stages counts stem and four layers, so 0..5; got {frozen_stages}")
        if family_of(backbone) != "resnet":
            raise ValueError(f"{backbone!r} is not one of timm's ResNets; choose e.g. resnet50.tv_in1k")
        if output_stride not in (4, 8, 16, 32):
            raise ValueError(f"output_stride of a ResNet is 4, 8, 16 or 32; got {output_stride}")
        net: Any = create_timm(backbone, weights, output_stride=max(8, output_stride))  # timm's minimum is 8
        if output_stride == 4:
            _remove_stride(net.layer2)
        for layer, stride in zip(
            (net.layer1, net.layer2, net.layer3, net.layer4), (4, 8, 16, 32), strict=True
        ):
            _dilate(layer, max(1, stride // output_stride) if dilated else 1)
        stem = nn.Sequential(net.conv1, net.bn1, net.act1, net.maxpool)
        self.stages = nn.ModuleList([stem, net.layer1, net.layer2, net.layer3, net.layer4])
        self.stage_channels = [info["num_chs"] for info in net.feature_info]
        self.stage_strides = [min(stride, output_stride) for stride in (4, 4, 8, 16, 32)]
        self.channels = net.num_features
        self.normalize = own_normalize(backbone)
        self.frozen_stages = frozen_stages
        self.stages[:frozen_stages].requires_grad_(False)
        # 10 % faster on CPUs, more with bf16 on CPUs and GPUs
        self.to(memory_format=torch.channels_last)
        # apply freeze_bn now: trainers may not call train(), as new modules are in training mode already
        self.train()

    def forward(self, image: Tensor) -> list[Tensor]:
        """`(B, 3, H, W)`, normalised -> five feature maps at strides 4, 4, 8, 16, ...

        The last one is `(B, channels, h, w)`.
        """
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features
