"""The two output branches of IRNet: class boundary map and displacement field.

Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044, section 4.1, figure 3;
https://github.com/jiwoon-ahn/irn (`net/resnet50_irn.py`). Both branches read the five stages of a ResNet,
bring them to stride 4, and do not distinguish classes.

Departures: the strides may be those of another ResNet, and `width` scales all channels. At inference IRN
    subtracts
the mean displacement over the training images; this is left out, since only instance masks need the
displacement field and semantic masks do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STRIDES = (4, 4, 8, 16, 32)
"""Strides of the five stages of a ResNet; each is at most the network's `output_stride`."""


def stage_strides(output_stride: int) -> tuple[int, ...]:
    """Strides of stem and four layers of a ResNet with this output stride: 4, 4, 8, 16, 16 for 16."""
    return tuple(min(stride, output_stride) for stride in STRIDES)


def _lateral(inputs: int, outputs: int, groups: int, upsampling: int) -> nn.Sequential:
    """1x1 convolution, GroupNorm, bilinear upsampling by a whole factor, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.GroupNorm(groups, outputs),
        nn.Upsample(scale_factor=upsampling, mode="bilinear", align_corners=False)
        if upsampling > 1
        else nn.Identity(),
        nn.ReLU(),
    )


def _crop_and_concatenate(features: Sequence[Tensor], size: torch.Size) -> Tensor:
    """Crop upsampled maps to the top left `size` (h, w) and concatenate them along the channels."""
    return torch.cat([feature[..., : size[0], : size[1]] for feature in features], dim=1)


class BoundaryBranch(nn.Module):
    """Predicts the class boundary map at stride 4.

    Args:
        channels: Channels of the five stages.
        strides: Strides of the five stages.
        width: Channels that each stage is reduced to, a multiple of 4; 32 as published.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 32) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            [_lateral(c, width, 4, stride // STRIDES[0]) for c, stride in zip(channels, strides, strict=True)]
        )
        self.classifier = nn.Conv2d(5 * width, 1, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Five stages -> `(B, h, w)` boundary logits, at the size of the second stage."""
        laterals = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        return self.classifier(_crop_and_concatenate(laterals, features[1].shape[-2:]))[:, 0]


class DisplacementBranch(nn.Module):
    """Predicts the displacement field at stride 4: from each pixel to the centre of its object.

    Args:
        channels: Channels of the five stages.
        strides: Strides of the five stages; that of the third is 8.
        width: A multiple of 4; 32 gives the published channels, 64, 128, 256, 256, 256 and 256.
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
        merged = self.merge_coarse(_crop_and_concatenate(coarse, features[2].shape[-2:]))
        return self.regressor(self.merge(_crop_and_concatenate([*fine, merged], features[1].shape[-2:])))


def flip_averaged_boundary_map(logits: Tensor) -> Tensor:
    """Boundary probabilities of an image, averaged over the image and its mirror image.

    Args:
        logits: `(2, h, w)` boundary logits of the image and of the mirrored image.

    Returns:
        `(h, w)` in [0, 1]: the sigmoid of the mean logit, after the second map is mirrored back.
    """
    return (logits[0] / 2 + logits[1].flip(-1) / 2).sigmoid()
