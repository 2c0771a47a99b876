"""VGG-16 at stride 8, as OAA and MCIS read it.

Simonyan and Zisserman, ICLR 2015, for the network, which is timm's; Jiang et al., "Integral Object Mining via Online Attention
Accumulation" (OAA), ICCV 2019, https://github.com/PengtaoJiang/OAA-PyTorch, for the changes: the fourth pooling keeps the
size, the convolutions after it are dilated by 2, the fifth pooling is left out.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from wsss_bench.nn.resnet import create_timm


class VGGStride8(nn.Module):
    """The convolutions of timm's VGG, without batch norm, at stride 8; their indices are torchvision's.

    Args:
        backbone: timm name of a VGG.
        weights: `imagenet`, a checkpoint path, or None.

    Attributes:
        channels: Of the output.
    """

    def __init__(self, backbone: str = "vgg16.tv_in1k", weights: str | None = "imagenet") -> None:
        super().__init__()
        net: Any = create_timm(backbone, weights)
        if any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
            raise ValueError(
                f"{backbone!r} has BatchNorm, in whose statistics the images of a batch meet; choose e.g. vgg16.tv_in1k"
            )
        self.features = at_stride_8(net.features)
        self.channels: int = [m for m in self.features if isinstance(m, nn.Conv2d)][-1].out_channels

    def forward(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)`, normalised -> `(B, channels, H // 8, W // 8)` >= 0."""
        return self.features(image)


def at_stride_8(features: nn.Sequential) -> nn.Sequential:
    """The layers of a VGG with its fourth and fifth pooling changed as above; weights are kept."""
    layers = list(features)
    pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    if len(pools) != 5:
        raise ValueError(f"a VGG has five poolings, this network has {len(pools)}; choose e.g. vgg16.tv_in1k")
    layers[pools[3]] = nn.MaxPool2d(3, stride=1, padding=1)
    for layer in layers[pools[3] :]:
        if isinstance(layer, nn.Conv2d):
            layer.dilation, layer.padding = (2, 2), (2, 2)
    return nn.Sequential(*layers[: pools[4]])
