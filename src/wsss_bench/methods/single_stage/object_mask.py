"""The object-aware mask of DALNet: patches of each labelled class, and background patches.

DALNet ("DIAL: Dense Image-text ALignment for Weakly Supervised Semantic Segmentation", ECCV 2024, arXiv
2409.15801) builds the mask from intermediate features. Its code is not published, so the construction is
ours: the normalised CAM of the auxiliary classifier under a low and a high threshold; patches between the
thresholds are uncertain and left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.methods.single_stage.pseudo_labels import cam_to_label
from wsss_bench.ranges import check_range


@dataclass(frozen=True)
class MaskConfig:
    """The object-aware mask.

    Args:
        low: CAM values up to it are background; None takes `cam.low`.
        high: CAM values above it are objects; None takes `cam.high`.
        class_agnostic: Every labelled class gets the object patches of all labelled classes.
        min_patches: A labelled class with fewer patches also gets its patches of the highest CAM values, this
            many.
        main_cam_after: Step from which the mask comes from the main CAM, not the auxiliary one; None for
            never.
    """

    low: float | None = None
    high: float | None = None
    class_agnostic: bool = False
    min_patches: int = 1
    main_cam_after: int | None = None

    def __post_init__(self) -> None:
        check_range("mask.low", self.low, 0, 1)
        check_range("mask.high", self.high, 0, 1)
        check_range("mask.min_patches", self.min_patches, 0)
        check_range("mask.main_cam_after", self.main_cam_after, 0)


class ObjectMask(NamedTuple):
    """Object and background patches of each image; uncertain and padded patches are in neither."""

    objects: Tensor  # (B, C, N) bool; only labelled classes have patches
    background: Tensor  # (B, N) bool


@torch.no_grad()
def object_mask(
    cam: Tensor,
    labels: Tensor,
    valid: Tensor,
    low: float,
    high: float,
    min_patches: int = 1,
    class_agnostic: bool = False,
) -> ObjectMask:
    """Threshold a CAM on the grid of patches.

    Args:
        cam: `(B, C, H, W)` in [0, 1]; resized to the grid bilinearly.
        labels: `(B, C)` multi-hot.
        valid: `(B, h, w)` bool on the grid of patches; padded patches (False) are in neither part.
        low: Largest CAM value of a background patch.
        high: Largest CAM value that is not yet an object.
        min_patches: A labelled class with fewer patches also gets its patches of the highest CAM values, this
            many.
        class_agnostic: Every labelled class gets the patches of all labelled classes.
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
        too_few = present & (objects.sum(dim=2) < min_patches)
        objects = objects | (best & inside & too_few[:, :, None])
    any_object = objects.any(dim=1)
    if class_agnostic:
        objects = any_object[:, None] & present[:, :, None]
    return ObjectMask(objects, (label == 0) & ~any_object)
