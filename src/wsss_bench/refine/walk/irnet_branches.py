"""The two output branches of IRNet: class boundary map and displacement field.

Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044, section 4.1, figure 3;
https://github.com/jiwoon-ahn/irn (`net/resnet50_irn.py`). Both branches read the stages of a backbone, bring
them to stride 4, and do not distinguish classes. A ResNet has five stages, two of them at stride 4 (the stem
and layer1); other networks have four.

Departures: strides and number of stages may be those of another backbone, and `width` scales all channels. At
inference IRN subtracts the mean displacement over the training images; this is left out, since only instance
masks need the displacement field and semantic masks do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STRIDE = 4
"""Stride of both outputs."""
COARSE = 3
"""Number of stages after those at stride 4."""


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
        channels: Channels of the stages.
        strides: Strides of the stages, 4 for all but the last three.
        width: Channels that each stage is reduced to, a multiple of 4; 32 as published.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 32) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            [_lateral(c, width, 4, stride // STRIDE) for c, stride in zip(channels, strides, strict=True)]
        )
        self.classifier = nn.Conv2d(len(channels) * width, 1, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the stages -> `(B, h, w)` boundary logits, at the size of those with stride 4."""
        laterals = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        return self.classifier(_crop_and_concatenate(laterals, features[-COARSE - 1].shape[-2:]))[:, 0]


class DisplacementBranch(nn.Module):
    """Predicts the displacement field at stride 4: from each pixel to the centre of its object.

    Args:
        channels: Channels of the stages.
        strides: Strides of the stages, 4 for all but the last three.
        width: A multiple of 4; 32 gives the published channels, 64, 128, 256, 256, 256 and 256.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 32) -> None:
        super().__init__()
        wide = 8 * width
        outputs = ((2 * width, 8), (4 * width, 16))[
            COARSE - len(channels) :
        ]  # and groups, of the fine stages
        fine, coarse = channels[:-COARSE], channels[-COARSE:]
        self.fine = nn.ModuleList(
            [_lateral(c, width, groups, 1) for c, (width, groups) in zip(fine, outputs, strict=True)]
        )
        steps = [stride // strides[-COARSE] for stride in strides[-COARSE:]]
        self.coarse = nn.ModuleList(
            [_lateral(c, wide, 16, step) for c, step in zip(coarse, steps, strict=True)]
        )
        self.merge_coarse = _lateral(COARSE * wide, wide, 16, strides[-COARSE] // STRIDE)
        self.merge = _lateral(sum(width for width, _ in outputs) + wide, wide, 16, 1)
        self.regressor = nn.Conv2d(wide, 2, 1, bias=False)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features -> `(B, 2, h, w)` as (dy, dx) in pixels of the map, at the size of those with stride 4."""
        fine = [lateral(f) for lateral, f in zip(self.fine, features[:-COARSE], strict=True)]
        coarse = [lateral(f) for lateral, f in zip(self.coarse, features[-COARSE:], strict=True)]
        merged = self.merge_coarse(_crop_and_concatenate(coarse, features[-COARSE].shape[-2:]))
        size = features[-COARSE - 1].shape[-2:]
        return self.regressor(self.merge(_crop_and_concatenate([*fine, merged], size)))


def flip_averaged_boundary_map(logits: Tensor) -> Tensor:
    """Boundary probabilities of an image, averaged over the image and its mirror image.

    Args:
        logits: `(2, h, w)` boundary logits of the image and of the mirrored image.

    Returns:
        `(h, w)` in [0, 1]: the sigmoid of the mean logit, after the second map is mirrored back.
    """
    return (logits[0] / 2 + logits[1].flip(-1) / 2).sigmoid()
