r"""PAR: pixel-adaptive refinement of soft masks by the colours of neighbouring pixels.

Ru et al., "Learning Affinity from Attention" (AFA), CVPR 2022, https://arxiv.org/abs/2203.02664, section 3.4,
as ToCo computes it (CVPR 2023, https://github.com/rulixiang/ToCo).

In each iteration a pixel i gets the weighted sum of its 48 neighbours j: eight directions, six dilations. The
affinity is :math:`\operatorname{softmax}_j(k_{ij}) + 0.01 \operatorname{softmax}_j(p_{ij})`: the kernel k
compares colours, relative to their standard deviation around the pixel, and p positions. Affinities sum to
1.01, so the result is not a distribution; only its argmax is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.nn.pamr import neighbours

DIRECTIONS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


class PAR(nn.Module):
    """Refines masks iteratively; has no parameters.

    Args:
        iterations: Number of iterations.
        dilations: Distances of the neighbours in pixels.
        width: Width of both kernels, relative to the standard deviation.
        position_weight: Weight of the position kernel.
    """

    def __init__(
        self,
        iterations: int = 10,
        dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
        width: float = 0.3,
        position_weight: float = 0.01,
    ) -> None:
        super().__init__()
        self.iterations = iterations
        self.dilations = tuple(dilations)
        self.width = width
        distance = torch.tensor([d * math.hypot(dy, dx) for d in dilations for dy, dx in DIRECTIONS])
        position = -((distance / ((distance.std() + 1e-8) * width)) ** 2)
        position = position_weight * position.softmax(0)  # (J,)
        self.register_buffer("position_affinity", position, persistent=False)

    position_affinity: Tensor

    @torch.no_grad()
    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """Refine `masks` `(B, K, h, w)` by `image` `(B, 3, H, W)` in [0, 1] -> `(B, K, H, W)`.

        The masks are first resized to the image (bilinear, align_corners=True).
        """
        size = image.shape[-2:]
        masks = F.interpolate(masks.float(), size, mode="bilinear", align_corners=True)
        affinity = self.affinity(image.float())
        for _ in range(self.iterations):
            refined = torch.zeros_like(masks)
            for own, neighbour in zip(affinity.unbind(1), neighbours(masks, self.dilations), strict=True):
                refined.addcmul_(own[:, None], neighbour)
            masks = refined
        return masks

    def affinity(self, image: Tensor) -> Tensor:
        """Affinities `(B, J, H, W)` of each pixel of `(B, 3, H, W)` to its J neighbours; they sum to 1.01.

        Neighbours are taken one at a time: all of them together would be J copies of the image.
        """
        scale = (self._deviation(image) + 1e-8) * self.width
        colour = torch.stack(
            [
                ((image - neighbour) / scale).square_().mean(dim=1)
                for neighbour in neighbours(image, self.dilations)
            ],
            dim=1,
        )  # (B, J, H, W)
        return colour.neg_().softmax(dim=1) + self.position_affinity[:, None, None]

    def _deviation(self, image: Tensor) -> Tensor:
        """Unbiased standard deviation `(B, 3, H, W)` of the neighbours of each pixel, without the pixel."""
        count = len(self.position_affinity)
        zero = torch.zeros_like(image)
        mean = sum(neighbours(image, self.dilations), zero) / count
        squares = sum(((neighbour - mean).square() for neighbour in neighbours(image, self.dilations)), zero)
        return (squares / (count - 1)).sqrt()
