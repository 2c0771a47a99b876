"""Which patches belong to which labelled class, and which to none: the object-aware mask of DALNet.

DALNet ("DIAL: Dense Image-text ALignment for Weakly Supervised Semantic Segmentation", ECCV 2024, arXiv 2409.15801) builds
it from intermediate features; without published code the construction is ours: the normalised CAM of the auxiliary head,
thresholded with a band of uncertain patches that belong to neither.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.methods.single_stage.pseudo_labels import cam_to_label


class ObjectMask(NamedTuple):
    """Patches of an image by what they show; uncertain and padded ones are in neither."""

    objects: Tensor  # (B, C, N) bool; only labelled classes have patches
    rest: Tensor  # (B, N) bool


@torch.no_grad()
def object_mask(
    cam: Tensor,
    labels: Tensor,
    valid: Tensor,
    low: float,
    high: float,
    min_patches: int = 1,
    agnostic: bool = False,
) -> ObjectMask:
    """Threshold a CAM on the grid of patches.

    Args:
        cam: `(B, C, H, W)` in [0, 1]; resized to the grid bilinearly.
        labels: `(B, C)` multi-hot.
        valid: `(B, h, w)` bool, the grid; padded patches are in neither part.
        low: Largest value that belongs to the rest.
        high: Largest value that does not belong to an object.
        min_patches: A labelled class with fewer patches gets its best ones, so many of them.
        agnostic: Every labelled class takes the patches of all.
    """
    cam = F.interpolate(cam, valid.shape[1:], mode="bilinear", align_corners=False)
    label = cam_to_label(cam, labels, valid, low, high).flatten(1)  # (B, N)
    present = labels > 0
    values = torch.arange(1, labels.shape[1] + 1, device=labels.device)
    objects = label[:, None] == values[:, None]  # (B, C, N)
    if min_patches:
        inside = valid.flatten(1)[:, None]
        ranked = cam.flatten(2).masked_fill(~inside, -1.0)
        best = torch.zeros_like(objects).scatter(
            2, ranked.topk(min(min_patches, ranked.shape[2])).indices, True
        )
        lacking = present & (objects.sum(dim=2) < min_patches)
        objects = objects | (best & inside & lacking[:, :, None])
    taken = objects.any(dim=1)
    if agnostic:
        objects = taken[:, None] & present[:, :, None]
    return ObjectMask(objects, (label == 0) & ~taken)
