"""Backbones by name: a ResNet as the CAM family uses it, or any timm network with features at four strides.

ConvNeXt, EfficientNet, RegNet, ResNeSt, Swin and many more give feature maps at strides 4, 8, 16 and 32, each
with the channels first. A stride that `output_stride` removes is replaced by dilation, as timm does it; a
network that cannot do this says so. ViTs have one stride only and belong to the single-stage methods.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.nn.checkpoints import load_weights
from wsss_bench.nn.resnet import ResNetStages
from wsss_bench.nn.stages import Stages
from wsss_bench.nn.timm_models import build_timm, family_of, own_normalize, read_recipe
from wsss_bench.nn.weights import locate

STRIDES = (4, 8, 16, 32)
EXAMPLES = "e.g. resnet50.tv_in1k, convnext_tiny, efficientnet_b0 or swin_tiny_patch4_window7_224"
PROBE = 64  # side of the image that strides and used parameters are found with


def build_backbone(
    backbone: str,
    weights: str | None,
    output_stride: int,
    frozen_stages: int = 0,
    freeze_bn: bool = False,
    dilated: bool = False,
) -> Stages:
    """`ResNetStages` for timm's ResNets, `TimmStages` for all other networks.

    Args:
        backbone: timm model name, or a recipe file.
        weights: `imagenet`, a checkpoint path, or None.
        output_stride: Stride of the last stage.
        frozen_stages: Stages without gradient, 0 to 5: 1 counts what is finer than stride 4 (the stem), 2 to
            5 the stages that a ResNet has at strides 4, 8, 16 and 32.
        freeze_bn: BatchNorm always uses its running statistics.
        dilated: Dilate the stages of a ResNet whose stride was removed (DeepLab), or not (CAM, IRN). Other
            networks are always dilated.

    Raises:
        FileNotFoundError, ValueError: as in `create_timm`; or the network does not fit.
    """
    if family_of(backbone) == "resnet":
        return ResNetStages(backbone, weights, output_stride, frozen_stages, freeze_bn, dilated)
    return TimmStages(backbone, weights, output_stride, frozen_stages, freeze_bn)


class TimmStages(Stages):
    """The four stages of a timm network at strides 4, 8, 16 and 32, or less by `output_stride`.

    Images are padded with 0 at the bottom and on the right to a multiple of 32, and the features cropped, so
    that networks which round sizes down lose no pixels. Parameters that the last stage does not depend on are
    not trained.

    Args: as in `build_backbone`.

    Raises:
        ValueError: the network has no such features, no such output stride, or accepts only one image size.
    """

    def __init__(
        self,
        backbone: str,
        weights: str | None = "imagenet",
        output_stride: int = 32,
        frozen_stages: int = 0,
        freeze_bn: bool = False,
    ) -> None:
        super().__init__(freeze_bn)
        if not 0 <= frozen_stages <= 5:
            raise ValueError(f"frozen_stages is from 0 to 5; got {frozen_stages}")
        self.net = _features_of(backbone, weights, output_stride)
        self.normalize = own_normalize(backbone)
        maps = _probe(self.net, backbone)
        strides = [PROBE // features.shape[-1] for features in maps]
        expected = [min(stride, output_stride) for stride in STRIDES]
        if strides[-4:] != expected:
            raise ValueError(
                f"backbone: {backbone!r} has features at strides {', '.join(map(str, strides))}, but "
                f"output_stride {output_stride} needs {', '.join(map(str, expected))}; change output_stride, "
                f"or choose {EXAMPLES}"
            )
        self.finer = len(maps) - 4  # number of stages before stride 4
        self.stage_channels = [features.shape[1] for features in maps[-4:]]
        self.stage_strides = strides[-4:]
        self.channels = self.stage_channels[-1]
        # a parameter without gradient stops data-parallel training; methods that train the network read the
        # last stage
        used = {id(parameter) for parameter in _parameters_of(self.net, maps[-1:])}
        frozen = {id(p) for p in _parameters_of(self.net, maps[: self.finer + frozen_stages - 1])}
        for parameter in self.net.parameters():
            if id(parameter) not in used or (frozen_stages and id(parameter) in frozen):
                parameter.requires_grad_(False)
        self.to(memory_format=torch.channels_last)
        self.train()

    def forward(self, image: Tensor) -> list[Tensor]:
        """`(B, 3, H, W)`, normalised -> four feature maps `(B, channels, ceil(H / s), ceil(W / s))`."""
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]))
        return [
            features[..., : -(-height // stride), : -(-width // stride)]
            for features, stride in zip(
                _maps(self.net, padded)[self.finer :], self.stage_strides, strict=True
            )
        ]


def _features_of(backbone: str, weights: str | None, output_stride: int) -> nn.Module:
    """A timm network for images of any size, without the layers behind its last feature map."""
    options: dict[str, Any] = {}
    if output_stride != STRIDES[-1]:
        options["output_stride"] = output_stride
    if timm.get_pretrained_cfg(read_recipe(backbone)[0]).fixed_input_size:
        options["strict_img_size"] = False  # Swin; other networks of a fixed size do not know the option
    try:
        net: Any = build_timm(backbone, weights == "imagenet", **options)
    except (TypeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"backbone: {backbone!r} cannot be built with {_shown(options)} ({error}); "
            f"{'set output_stride: 32, or ' if 'output_stride' in options else ''}choose {EXAMPLES}"
        ) from error
    if not hasattr(net, "forward_intermediates") or not hasattr(net, "feature_info"):
        raise ValueError(f"backbone: timm gives no features of {backbone!r}; choose {EXAMPLES}")
    architecture = net.state_dict().keys()
    net.prune_intermediate_layers(list(range(len(net.feature_info))), prune_norm=True)
    if weights not in (None, "imagenet"):
        load_weights(net, locate(weights), unused=architecture)
    return net


@torch.enable_grad()
def _probe(net: nn.Module, backbone: str) -> list[Tensor]:
    """Feature maps of a small image, with their graph."""
    try:
        return _maps(net.eval(), torch.zeros(1, 3, PROBE, PROBE))
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"backbone: {backbone!r} accepts no image of {PROBE}x{PROBE} pixels ({error}), so that it cannot "
            f"be trained on crops and read at several scales; choose {EXAMPLES}"
        ) from error


def _maps(net: Any, image: Tensor) -> list[Tensor]:
    """All feature maps of a timm network, the channels first."""
    maps: list[Tensor] = net.forward_intermediates(image, output_fmt="NCHW", intermediates_only=True)
    return maps


def _parameters_of(net: nn.Module, maps: list[Tensor]) -> list[nn.Parameter]:
    """The parameters that feature maps depend on."""
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if not maps:
        return []
    sums = torch.stack([features.sum() for features in maps]).sum()
    gradients = torch.autograd.grad(sums, parameters, retain_graph=True, allow_unused=True)
    return [p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


def _shown(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "its own settings"
