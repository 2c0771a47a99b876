"""How the authors of a method read a segmentation out of their network, as data.

The read-outs of this suite are the same for all methods, so that rows can be ranked. A paper's figure was
measured in the authors' own way: other sizes, scales and CRFs, and other means over views. Read so, the same
checkpoint gives the score that the figure can be compared with (docs/protocol.md). Its CRF, `crf.ReadoutCRF`,
belongs to the stage after the prediction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wsss_bench.ranges import check_range, check_ranges


@dataclass(frozen=True)
class Tiles:
    """Overlapping tiles as in the test of OAA and MCIS (`eval_res.py: multi_scale_test`).

    The image is filled up to one tile at the bottom and right. Tiles start at multiples of `step`, the last
    one is shifted back inside. Scores of a later tile **replace** those of an earlier one, and all are then
    divided by the number of tiles of the pixel: where two overlap, the second one counts half. A side of
    `side - step` pixels or less gets no tile, and score 0.

    Args:
        side: Side of a tile in pixels.
        step: Distance of two tiles in pixels.
        fill: Colour of what is filled up, RGB in [0, 1]; the mean colour of the network, which becomes 0.
    """

    side: int
    step: int
    fill: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 0 < self.step <= self.side:
            raise ValueError(f"tiles have 0 < step <= side; got step {self.step} and side {self.side}")


@dataclass(frozen=True)
class PublishedReadout:
    """One read-out of a paper or of its code.

    Args:
        scales: Scales of the base size.
        squash: As `InferenceConfig.squash`, for this read-out alone. None: the base size of
            `InferenceConfig`.
        long_side: The base size has this long side and the ratio of the image, cut to whole pixels. None: as
            without it.
        resize: `bilinear`: the tensor, to its base size and from there to int(scale * side) pixels, scores
            bilinear too. `bilinear_once`: to that size directly (ExCEL). `bilinear_factor`: as `bilinear`,
            but pixel i comes from i / scale, whatever was cut from the side (WeCLIP). `cv2_bilinear`: the
            uint8 image by OpenCV, as mmcv does, scores bilinear. `cv2_bicubic`: the image in float by OpenCV,
            scores bicubic, as in MCIS.
        remainder: What is done with an image that does not divide into patches: `pad`, as `InferenceConfig`
            says (`pad_to` or `stretch_to`); or `drop`, the rows and columns after the last patch are seen by
            nobody, and the map is drawn over the whole image, or window (a patch embedding without padding).
        tiles: The network sees tiles; None: whole images, or the windows of `InferenceConfig`.
        scores: What is fused: `logits`, or `probabilities` after the softmax.
        mirror: How the scores of image and mirror image are fused; `none`: no mirror image.
        mirrored_scales: Scales at which there is a mirror image (ExCEL: all but 1). None: all.
        fuse: How scales are fused.
        fuse_at: Where views and scales are fused: at the size of the `image`; on the `grid` of the first
            scale (WeCLIP); or at this share of the size of the image, cut to whole pixels (ExCEL on COCO: a
            fifth). What is fused is enlarged afterwards.
        pamr_dilations: Dilations of ten iterations of PAMR on the fused scores at the size of the image
            (NACLIP), along the colours of the view at scale 1, enlarged to that size; empty: none.
        area_threshold: A class whose pixels are no more than this share of all foreground pixels loses them
            to the next best class (SCLIP on VOC). null: no such rule.
        crf: Whether the authors use a CRF: then the probabilities of all classes are written for it, and no
            mask.

    Raises:
        ValueError: a value that cannot be used, or two that exclude each other.
    """

    scales: tuple[float, ...] = (1.0,)
    squash: int | None = None
    long_side: int | None = None
    resize: Literal["bilinear", "bilinear_once", "bilinear_factor", "cv2_bilinear", "cv2_bicubic"] = (
        "bilinear"
    )
    remainder: Literal["pad", "drop"] = "pad"
    tiles: Tiles | None = None
    scores: Literal["logits", "probabilities"] = "logits"
    mirror: Literal["none", "sum", "mean", "max"] = "none"
    mirrored_scales: tuple[float, ...] | None = None
    fuse: Literal["sum", "mean", "max"] = "sum"
    fuse_at: Literal["image", "grid"] | float = "image"
    pamr_dilations: tuple[int, ...] = ()
    area_threshold: float | None = None
    crf: bool = False

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales of a read-out are positive numbers, at least one; got {self.scales}")
        if self.squash is not None and self.squash < 1:
            raise ValueError(f"squash is the side of a square in pixels; got {self.squash}")
        if self.long_side is not None and self.long_side < 1:
            raise ValueError(f"long_side is a number of pixels, at least 1; got {self.long_side}")
        if self.squash is not None and self.long_side is not None:
            raise ValueError("squash and long_side both give the base size; leave out one of the two")
        if self.tiles is not None and self.remainder == "drop":
            raise ValueError("a read-out with tiles drops no remainder; leave out one of the two")
        if self.tiles is not None and self.fuse_at == "grid":
            raise ValueError("tiles are put together at the size of the image; leave out fuse_at: grid")
        if not isinstance(self.fuse_at, str) and not 0 < self.fuse_at <= 1:
            raise ValueError(
                f"fuse_at is image, grid, or a share of the size of the image, above 0 to 1; got "
                f"{self.fuse_at}"
            )
        if self.mirrored_scales is not None and (
            self.mirror == "none" or not set(self.mirrored_scales) <= set(self.scales)
        ):
            raise ValueError(
                f"mirrored_scales are some of the scales {self.scales} of a read-out with mirror images; "
                f"got {self.mirrored_scales}, and mirror: {self.mirror}"
            )
        check_ranges("pamr_dilations of a read-out", self.pamr_dilations, 1, empty=True)
        check_range("area_threshold of a read-out", self.area_threshold, 0, below=1)
