"""Checks of the maps that a method returns, so that nothing is predicted from wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from wsss_bench.methods.base import Method


class CheckedMaps:
    """A method whose maps are checked.

    A stage checks its first image only, since each check waits for the device.

    Args:
        method: What predicts.
    """

    def __init__(self, method: Method) -> None:
        self._method = method
        self.seed_placement = method.seed_placement
        self.segmentation_placement = method.segmentation_placement
        self.gradients_at_inference = method.gradients_at_inference
        self.seeds_with_background = method.seeds_with_background
        self.zero_grad: Callable[[], None] = method.zero_grad

    @property
    def device(self) -> torch.device:
        return self._method.device

    def seed_maps(
        self, image: Tensor, labels: Tensor | None = None, references: Sequence[Any] = ()
    ) -> Tensor:
        maps = self._method.seed_maps(image, labels, references)
        check_seed_maps(self._method, image, maps.detach())
        return maps

    def segmentation_logits(self, image: Tensor) -> Tensor:
        logits = self._method.segmentation_logits(image)
        check_segmentation_logits(self._method, image, logits.detach())
        return logits


def check_seed_maps(method: Method, image: Tensor, maps: Tensor) -> None:
    """Check what `seed_maps` returned for `image` `(B, 3, H, W)`.

    Raises:
        ValueError: another number of images or classes, maps without pixels, or scores that are negative or
            not finite.
    """
    place = f"{type(method).__name__}.seed_maps"
    background = method.seeds_with_background
    channels = "a background score and one map per class" if background else "one map per class"
    _check(place, channels, image, maps, len(method.class_names) + background)
    if (lowest := float(maps.min())) < 0:
        raise ValueError(
            f"{place} returned scores down to {lowest:g}; seeds are >= 0, end it with `.relu()` or subtract "
            "the minimum"
        )
    if background and (highest := float(maps[:, 0].max())) > 1:
        raise ValueError(
            f"{place} returned a background score of {highest:g}; it is compared with class maps that are "
            "divided by their maximum, so keep it in [0, 1]"
        )


def check_segmentation_logits(method: Method, image: Tensor, logits: Tensor) -> None:
    """Check what `segmentation_logits` returned for `image` `(B, 3, H, W)`.

    Raises:
        ValueError: another number of images or classes, maps without pixels, or logits that are not finite.
    """
    place = f"{type(method).__name__}.segmentation_logits"
    channels = "a background map and one map per class"
    _check(place, channels, image, logits, 1 + len(method.class_names))


def _check(place: str, channels: str, image: Tensor, maps: Tensor, number: int) -> None:
    if maps.ndim != 4 or maps.shape[:2] != (len(image), number) or not maps.numel():
        raise ValueError(
            f"{place} returned {tuple(maps.shape)} for {len(image)} images; expected "
            f"({len(image)}, {number}, h, w), {channels}; correct its output"
        )
    if not maps.isfinite().all():
        raise ValueError(
            f"the scores of {place} are not finite; the checkpoint has diverged, or {place} divides by zero"
        )
