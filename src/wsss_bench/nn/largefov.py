"""LargeFOV: the head of the first DeepLab, and the decoder of single-stage ViT methods.

Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015,
https://arxiv.org/abs/1412.7062. Two convolutions with ReLU and a 1x1 classifier. The defaults are those of
ToCo (Ru et al., CVPR 2023, https://github.com/rulixiang/ToCo), which dilates both convolutions, has no bias
and uses PyTorch's default initialisation. DeepLab on ResNet-101: one 3x3 convolution of dilation 12, a 1x1
convolution, width 1024, and a bias in the classifier.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LargeFOV(nn.Module):
    """Maps features to logits at the same resolution.

    Args:
        channels: Channels of the features.
        num_outputs: Channels of the output, including background.
        dilation: Dilation of the 3x3 convolutions, in cells of the feature map.
        width: Hidden channels.
        kernel_sizes: Kernel sizes of the first and the second convolution.
        bias: Whether the classifier has a bias.
    """

    def __init__(
        self,
        channels: int,
        num_outputs: int,
        dilation: int = 5,
        width: int = 512,
        kernel_sizes: tuple[int, int] = (3, 3),
        bias: bool = False,
    ) -> None:
        super().__init__()
        first, second = kernel_sizes
        self.conv6 = nn.Conv2d(channels, width, first, padding="same", dilation=dilation, bias=False)
        self.conv7 = nn.Conv2d(width, width, second, padding="same", dilation=dilation, bias=False)
        self.conv8 = nn.Conv2d(width, num_outputs, 1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """`(B, channels, h, w)` -> `(B, num_outputs, h, w)`."""
        return self.conv8(F.relu(self.conv7(F.relu(self.conv6(features)))))
