"""ResNet backbone of the CAM family and of DeepLab: timm's network in five stages.

Ahn et al., "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019,
https://github.com/jiwoon-ahn/irn

In the CAM family output stride 16 means stride 1 in the last stage **without dilation**, unlike timm's
`output_stride=16`, which dilates: with the published weights the two give different features. DeepLab gives
all 3x3 convolutions of a stage the same dilation, where timm gives the first one that of the stage before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from wsss_bench.nn.weights import locate

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def create_timm(backbone: str, weights: str | None, **kwargs: Any) -> nn.Module:
    """Build a timm network without its classifier.

    Args:
        backbone: timm model name; or a path (also `package:...`) to a JSON file `{"model": name, "kwargs":
            {...}}`.
        weights: `imagenet` for timm's own weights, a checkpoint path (also `package:...`) in a format that
            timm can load without unpickling code, or None for random weights.
        **kwargs: Passed to `timm.create_model`.
    """
    backbone, recipe = read_recipe(backbone)
    kwargs = {**recipe, **kwargs}
    if weights is None or weights == "imagenet":
        return timm.create_model(backbone, pretrained=weights is not None, num_classes=0, **kwargs)
    if not Path(locate(weights)).is_file():
        raise FileNotFoundError(
            f"weights: no file {weights}; name a checkpoint, `imagenet`, or null for none"
        )
    return timm.create_model(backbone, num_classes=0, checkpoint_path=locate(weights), **kwargs)


def read_recipe(backbone: str) -> tuple[str, dict[str, Any]]:
    """timm model name and keyword arguments of `backbone` (see `create_timm`)."""
    if not backbone.endswith(".json"):
        return backbone, {}
    recipe = json.loads(Path(locate(backbone)).read_text())
    return recipe["model"], recipe["kwargs"]


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


class ImageNetNormalize(nn.Module):
    """`(B, 3, H, W)` in [0, 1] -> normalised with ImageNet's mean and standard deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [0, 1] -> the same, normalised."""
        return (image - self.mean) / self.std


class ResNetStages(nn.Module):
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
        ValueError: `backbone` is no ResNet of timm, or `frozen_stages` is outside 0..5.
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
        super().__init__()
        if not 0 <= frozen_stages <= 5:
            raise ValueError(f"frozen_stages counts stem and four layers, so 0..5; got {frozen_stages}")
        name, _ = read_recipe(backbone)
        if not timm.is_model(name.split(".")[0]):
            raise ValueError(f"timm has no model {backbone!r}; choose e.g. resnet50.tv_in1k")
        if timm.model_entrypoint(name.split(".")[0]).__module__ != "timm.models.resnet":
            raise ValueError(f"{backbone!r} is not one of timm's ResNets; choose e.g. resnet50.tv_in1k")
        net: Any = create_timm(backbone, weights, output_stride=max(8, output_stride))  # timm's minimum is 8
        if output_stride == 4:
            _remove_stride(net.layer2)
        for layer, stride in zip(
            (net.layer1, net.layer2, net.layer3, net.layer4), (4, 8, 16, 32), strict=True
        ):
            _dilate(layer, max(1, stride // output_stride) if dilated else 1)
        stem = nn.Sequential(net.conv1, net.bn1, net.act1, net.maxpool)
        self.stages = nn.ModuleList([stem, net.layer1, net.layer2, net.layer3, net.layer4])
        self.stage_channels: list[int] = [info["num_chs"] for info in net.feature_info]
        self.channels: int = net.num_features
        self.frozen_stages = frozen_stages
        self.freeze_bn = freeze_bn
        self.stages[:frozen_stages].requires_grad_(False)
        # 10 % faster on CPUs, more with bf16 on CPUs and GPUs
        self.to(memory_format=torch.channels_last)
        # apply freeze_bn now: trainers may not call train(), as new modules are in training mode already
        self.train()

    def train(self, mode: bool = True) -> ResNetStages:
        """Set training mode; with `freeze_bn`, BatchNorm stays in evaluation mode."""
        super().train(mode)
        if self.freeze_bn:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        """`(B, 3, H, W)`, normalised -> five feature maps at strides 4, 4, 8, 16, ...

        The last one is `(B, channels, h, w)`.
        """
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features
