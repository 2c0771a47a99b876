"""How the cells of a map lie on the pixels of its image.

A network turns a row of N pixels into n cells. Three rules say at which pixel cell i is drawn:

| rule | pixel of cell i | used by |
|---|---|---|
| `Stretched()` | (i + 1/2) N / n - 1/2 | segmentation networks: deeplab-pytorch, ToCo, TCL and CoDe |
| `CroppedGrid(s)` | s i + (s - 1) / 2 | seeds of IRN, and of CLIMS, which copies it |
| `CornerAligned(s)` | s i | LargeFOV in OAA and MCIS: Caffe's layer `Interp` |

The first is the rule of maps that were trained at the size of their labels, enlarged or reduced without
regard to the stride. The second draws a cell of a convolutional network, which samples pixel s i, (s - 1) / 2
pixels too low and too far right; published seeds have this shift. docs/protocol.md shows the three.

Between the cells, maps are interpolated linearly in both directions. Before the first and after the last cell
the value of that cell holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F


class Placement(Protocol):
    """A rule that says where the cells of a map lie."""

    def draw(self, maps: Tensor, seen: Sequence[int], size: Sequence[int]) -> Tensor:
        """Maps at the size of the image.

        Args:
            maps: `(N, K, h, w)`, the output of a network.
            seen: Height and width of what the network saw: the image, or a smaller or larger copy of it.
            size: Height and width of the image, `(H, W)`.

        Returns:
            `(N, K, H, W)`.
        """


@dataclass(frozen=True)
class Stretched:
    """The cells share the whole image equally: bilinear with half-pixel centres (align_corners=False).

    Examples:
        >>> import torch
        >>> row = torch.tensor([[[[0.0, 1.0]]]])  # two cells for five pixels
        >>> Stretched().draw(row, (1, 5), (1, 5))
        tensor([[[[0.0000, 0.1000, 0.5000, 0.9000, 1.0000]]]])
    """

    def draw(self, maps: Tensor, seen: Sequence[int], size: Sequence[int]) -> Tensor:
        return resize(maps, size)


@dataclass(frozen=True)
class CroppedGrid:
    """A cell is `stride` pixels wide, and what lies outside the image is cut off (`make_cam` of IRN).

    Maps are resized to the next multiple of the stride above the size of the **image**, whatever the size of
    the copy that the network saw, and cropped at the top left.

    Args:
        stride: Stride of the network in pixels.

    Examples:
        >>> import torch
        >>> row = torch.tensor([[[[0.0, 1.0]]]])  # two cells for five pixels
        >>> CroppedGrid(4).draw(row, (1, 5), (1, 5))
        tensor([[[[0.0000, 0.0000, 0.1250, 0.3750, 0.6250]]]])
    """

    stride: int

    def draw(self, maps: Tensor, seen: Sequence[int], size: Sequence[int]) -> Tensor:
        whole = [self.stride * math.ceil(length / self.stride) for length in size]
        return resize(maps, whole)[..., : size[0], : size[1]]


@dataclass(frozen=True)
class CornerAligned:
    """Cell i lies on pixel `stride` i of what the network saw (Caffe's `Interp`, align_corners=True).

    A side of stride (n - 1) + 1 pixels is covered exactly: 321 and 401 at stride 8. Of other sides, what
    exceeds is cut off, and pixels after the last cell get its value.

    Args:
        stride: Stride of the network in pixels.

    Examples:
        >>> import torch
        >>> row = torch.tensor([[[[0.0, 1.0]]]])  # two cells for five pixels
        >>> CornerAligned(4).draw(row, (1, 5), (1, 5))
        tensor([[[[0.0000, 0.2500, 0.5000, 0.7500, 1.0000]]]])
    """

    stride: int

    def draw(self, maps: Tensor, seen: Sequence[int], size: Sequence[int]) -> Tensor:
        covered = [self.stride * (cells - 1) + 1 for cells in maps.shape[-2:]]
        drawn = F.interpolate(maps, covered, mode="bilinear", align_corners=True)
        drawn = drawn[..., : seen[0], : seen[1]]
        rows, columns = (length - side for length, side in zip(seen, drawn.shape[-2:], strict=True))
        return resize(F.pad(drawn, (0, columns, 0, rows), mode="replicate"), size)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """`(N, K, h, w)` -> `(N, K, *size)`, bilinear with half-pixel centres; unchanged if that is its size."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
