"""IRNet's two heads on the five stages of a ResNet: class boundaries, and displacements to the centre of the object.

Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044, section 4.1, figure 3; https://github.com/jiwoon-ahn/irn
(`net/resnet50_irn.py`). Both heads bring all stages to stride 4 and are blind to classes.

Departures: the strides may be those of another ResNet, and `width` scales all channels. The centring of the displacement
field at inference (its mean over the training images) is left out, since instance masks need it and semantic masks do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STRIDES = (4, 4, 8, 16, 32)
"""Strides of the stages of a ResNet, each at most its `output_stride`."""


def stage_strides(output_stride: int) -> tuple[int, ...]:
    """Strides of stem and four layers of a ResNet with this output stride: 4, 4, 8, 16, 16 for 16."""
    return tuple(min(stride, output_stride) for stride in STRIDES)


def _lateral(inputs: int, outputs: int, groups: int, enlarge: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.GroupNorm(groups, outputs),
        nn.Upsample(scale_factor=enlarge, mode="bilinear", align_corners=False)
        if enlarge > 1
        else nn.Identity(),
        nn.ReLU(),
    )


def _join(features: Sequence[Tensor], size: torch.Size) -> Tensor:
    """Maps enlarged by whole factors, cropped at the bottom right to `size`, along the channels."""
    return torch.cat([feature[..., : size[0], : size[1]] for feature in features], dim=1)


class BoundaryHead(nn.Module):
    """Logits of a class boundary at stride 4.

    Args:
        channels: Channels of the five stages.
        strides: Strides of the five stages.
        width: Channels of each stage inside, a multiple of 4; 32 as published.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 32) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            [_lateral(c, width, 4, stride // STRIDES[0]) for c, stride in zip(channels, strides, strict=True)]
        )
        self.classifier = nn.Conv2d(5 * width, 1, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Five stages -> `(B, h, w)` logits, at the size of the second stage."""
        laterals = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        return self.classifier(_join(laterals, features[1].shape[-2:]))[:, 0]


class DisplacementHead(nn.Module):
    """Displacement of each pixel to the centre of its object, at stride 4.

    Args:
        channels: Channels of the five stages.
        strides: Strides of the five stages; that of the third is 8.
        width: A multiple of 4; with 32 the channels are 64, 128, 256, 256, 256 and 256 as published.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 32) -> None:
        super().__init__()
        fine, middle, wide = 2 * width, 4 * width, 8 * width
        self.fine = nn.ModuleList([_lateral(channels[0], fine, 8, 1), _lateral(channels[1], middle, 16, 1)])
        self.coarse = nn.ModuleList(
            [_lateral(channels[k], wide, 16, strides[k] // strides[2]) for k in (2, 3, 4)]
        )
        self.merge_coarse = _lateral(3 * wide, wide, 16, strides[2] // STRIDES[0])
        self.merge = _lateral(fine + middle + wide, wide, 16, 1)
        self.regressor = nn.Conv2d(wide, 2, 1, bias=False)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Five stages -> `(B, 2, h, w)` as (dy, dx) in pixels of the map, at the size of the second stage."""
        fine = [lateral(feature) for lateral, feature in zip(self.fine, features[:2], strict=True)]
        coarse = [lateral(feature) for lateral, feature in zip(self.coarse, features[2:], strict=True)]
        enlarged = self.merge_coarse(_join(coarse, features[2].shape[-2:]))
        return self.regressor(self.merge(_join([*fine, enlarged], features[1].shape[-2:])))


def mirrored_boundary(logits: Tensor) -> Tensor:
    """Boundary probability of an image from its own logits and those of its mirror image.

    Args:
        logits: `(2, h, w)`, the second of the mirrored image.

    Returns:
        `(h, w)` in [0, 1]: sigmoid of the mean, the second un-mirrored.
    """
    return (logits[0] / 2 + logits[1].flip(-1) / 2).sigmoid()
