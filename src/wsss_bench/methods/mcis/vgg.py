"""VGG-16 at output stride 8, as in OAA and MCIS.

Simonyan and Zisserman, ICLR 2015, for the network, which is timm's; Jiang et al., "Integral Object Mining via
Online Attention Accumulation" (OAA), ICCV 2019, https://github.com/PengtaoJiang/OAA-PyTorch, for the changes:
the fourth pooling has stride 1, the convolutions after it have dilation 2, and the fifth pooling is removed.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from wsss_bench.nn.timm_models import create_timm


class VGGStride8(nn.Module):
    """The convolutional layers of a timm VGG without BatchNorm, at stride 8; layer indices equal
    torchvision's.

    Args:
        backbone: timm name of a VGG.
        weights: `imagenet`, a checkpoint path, or None.

    Attributes:
        channels: Number of output channels.
    """

    def __init__(self, backbone: str = "vgg16.tv_in1k", weights: str | None = "imagenet") -> None:
        super().__init__()
        net: Any = create_timm(backbone, weights)
        if any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
            raise ValueError(
                f"{backbone!r} has BatchNorm, whose batch statistics would mix the images of a pair; "
                "choose e.g. vgg16.tv_in1k"
            )
        self.features = at_stride_8(net.features)
        self.channels: int = [m for m in self.features if isinstance(m, nn.Conv2d)][-1].out_channels

    def forward(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)`, normalised -> `(B, channels, H // 8, W // 8)` >= 0."""
        return self.features(image)


def at_stride_8(features: nn.Sequential) -> nn.Sequential:
    """Change the fourth and fifth pooling of a VGG as described above; weights are kept.

    Raises:
        ValueError: the network does not have five pooling layers.
    """
    layers = list(features)
    pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    if len(pools) != 5:
        raise ValueError(f"a VGG has five poolings, this network has {len(pools)}; choose e.g. vgg16.tv_in1k")
    layers[pools[3]] = nn.MaxPool2d(3, stride=1, padding=1)
    for layer in layers[pools[3] :]:
        if isinstance(layer, nn.Conv2d):
            layer.dilation, layer.padding = (2, 2), (2, 2)
    return nn.Sequential(*layers[: pools[4]])
