"""How a method is applied to an image, and the sizes that the image gets. Without torch, for the plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from wsss_bench.ranges import check_range, check_ranges

MAX_SCALE = 16.0
"""Largest scale: beyond it an image of ordinary size does not fit into memory."""
LONG_SIDE = 2048
"""Upper limit of the long side of an image that is resized by its short side."""


@dataclass(frozen=True)
class InferenceConfig:
    """How a method is applied to an image.

    Args:
        scales: Scales of the seeds, relative to the (possibly resized) image.
        flip: Add the mirror image to the seeds.
        pad_to: Pad the image to a multiple of this (the patch size), half on each side, and crop the maps
            back.
        stretch_to: Resize the image at each scale to the next multiple of this (the patch size), each side
            for itself, instead of padding it; maps are drawn over the whole image (CLIP-ES).
        short_side: Resize the image so that its short side has this many pixels, keeping the aspect ratio.
        long_side: Resize the image so that its long side has this many pixels, keeping the aspect ratio. With
            `short_side`: the upper limit of the long side, 2048 if it is None.
        squash: Resize the image to a square of this side, whatever its shape. Without `short_side`,
            `long_side` and `squash` it has its original size at scale 1.
        window: Side of a sliding window in pixels. None: the whole image at once.
        window_stride: Step of the window. The last window is shifted back inside the image; overlapping
            scores are averaged.
        references: Number of reference images of each class of the image that a method gets with it (seeds of
            MCIS), drawn with replacement from the training images.
        multi_scales: Scales of the multi-scale segmentation, all with mirror images; without any, there is
            none. The predict stage sets it from the protocol of the data set.
        background: False predicts foreground classes only, for a data set without background. The predict
            stage sets it from the source.
        precision: `bf16`: the network computes in bfloat16 (autocast) on any device, whatever the precision
            of the trainer; two to three times faster on processors that have it, and not the same seeds.
            None: the precision of the trainer. Scales are summed and normalised in float32 in both.
        batch_size: Images of equal size that go through the network together, at most. None: 4 on a GPU, 1
            elsewhere, where a batch gains nothing. It decides no result. Methods with references, and those
            without `independent_images`, have one image at a time.
    """

    scales: tuple[float, ...] = (1.0, 0.5, 1.5, 2.0)
    flip: bool = True
    pad_to: int | None = None
    stretch_to: int | None = None
    short_side: int | None = None
    long_side: int | None = None
    squash: int | None = None
    window: int | None = None
    window_stride: int | None = None
    references: int = 0
    multi_scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    background: bool = True
    precision: Literal["bf16"] | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        check_ranges("inference.scales", self.scales, above=0, most=MAX_SCALE)
        check_ranges("inference.multi_scales", self.multi_scales, above=0, most=MAX_SCALE, empty=True)
        for name in (
            *("pad_to", "stretch_to", "short_side", "long_side", "squash"),
            *("window", "window_stride", "batch_size"),
        ):
            check_range(f"inference.{name}", getattr(self, name), 1)
        check_range("inference.references", self.references, 0)
        if (self.window is None) != (self.window_stride is None):
            raise ValueError("a sliding window needs both inference.window and inference.window_stride")
        if self.window is not None and self.window_stride is not None and self.window_stride > self.window:
            raise ValueError(
                f"inference.window_stride is {self.window_stride}, more than inference.window {self.window}: "
                "pixels between the windows would have no score; lower it"
            )
        if self.stretch_to is not None and self.pad_to is not None:
            raise ValueError(
                "inference.stretch_to and inference.pad_to both bring an image to a multiple of the patch "
                "size; set one of them to null"
            )
        if self.stretch_to is not None and self.window is not None:
            raise ValueError(
                "inference.stretch_to has no use with inference.window, the size that the network then sees; "
                "set one of them to null (inference.pad_to fills up images that are smaller than a window)"
            )
        if self.squash is not None and (self.short_side is not None or self.long_side is not None):
            raise ValueError(
                "inference.squash sets both sides of the image, so that inference.short_side and "
                "inference.long_side have no use; set it, or the two, to null"
            )


class Sizes(Protocol):
    """The keys of `InferenceConfig` that decide on sizes."""

    @property
    def stretch_to(self) -> int | None: ...
    @property
    def short_side(self) -> int | None: ...
    @property
    def long_side(self) -> int | None: ...
    @property
    def squash(self) -> int | None: ...


def base_size(height: int, width: int, config: Sizes) -> tuple[int, int]:
    """Height and width of the image at scale 1, before it is stretched to a multiple.

    Examples:
        >>> base_size(375, 500, InferenceConfig(short_side=448))
        (448, 597)
        >>> base_size(375, 1500, InferenceConfig(short_side=448, long_side=1024))  # not 448 x 1792
        (256, 1024)
    """
    if config.squash is not None:
        return config.squash, config.squash
    if config.short_side is not None:
        limit = config.long_side or LONG_SIDE
        factor = min(config.short_side / min(height, width), limit / max(height, width))
    elif config.long_side is not None:
        factor = config.long_side / max(height, width)
    else:
        return height, width
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def size_at(height: int, width: int, scale: float, config: Sizes) -> tuple[int, int]:
    """Height and width of the image at a scale, as the network or its windows see it, before padding.

    Examples:
        >>> size_at(375, 500, 0.5, InferenceConfig())
        (188, 250)
        >>> size_at(375, 500, 0.5, InferenceConfig(stretch_to=16))
        (192, 256)
    """
    sides = [side * scale for side in base_size(height, width, config)]
    if config.stretch_to is None:
        return max(1, round(sides[0])), max(1, round(sides[1]))
    return stretched(sides[0], config.stretch_to), stretched(sides[1], config.stretch_to)


def stretched(length: float, multiple: int) -> int:
    """The next multiple of a length: 16 for 15.2 and 16, 32 for 16.2."""
    return multiple * max(1, math.ceil(round(length / multiple, 6)))  # 1.1 * 320 is above 352
