r"""Class token contrast (CTC) of ToCo: views of the image, projection head and loss.

The class token of the whole image (global view) should agree with that of local crops which may show an
object, and differ from that of local crops which show mostly background. Crops are centred in uncertain or
background regions.

Ru et al., ToCo, CVPR 2023, https://arxiv.org/abs/2303.01267, section 3.3 and equation 5, as its code computes
it (`CTCLoss_neg`, https://github.com/rulixiang/ToCo): for each teacher view and each positive student view j,
:math:`-\log \frac{e^{s_j / \tau}}{e^{s_j / \tau} + \sum_- e^{s / \tau} + 10^{-4}}`, the mean over positives.
The projection head is DINO's: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers",
ICCV 2021, https://arxiv.org/abs/2104.14294; its widths are ToCo's.

Kept from the code: one more term of similarity 0 in the sum over positives (an `else` that belongs to a
loop), which the mean does not count; the published results come from it.

Departure: sums of exponentials are computed as logarithms. The similarities grow with the output width of the
projection head, and the exponentials of the authors' code overflow above 88.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.nn.precision import in_float32

EPSILON = 1e-4
NEGATIVE_RATIO = 0.2
"""A local crop is negative if the mean of its region mask is at most this."""


def region_mask(cam: Tensor, labels: Tensor, low: float, high: float) -> Tensor:
    """Background (0), uncertain (1) and object (2) regions of a CAM.

    Args:
        cam: `(B, C, H, W)` in [0, 1].
        labels: `(B, C)` multi-hot; absent classes are not considered.
        low: Largest value of the background.
        high: Smallest value of an object.

    Returns:
        `(B, H, W)` int64 in {0, 1, 2}.
    """
    value = (cam * labels[:, :, None, None]).amax(dim=1)
    return (value > low).long() + (value >= high).long()


class LocalCrops(NamedTuple):
    """K local crops of each image."""

    image: Tensor  # (B, K, 3, s, s)
    positive: Tensor  # (B, K) bool, False where a crop shows mostly background


def local_crops(image: Tensor, region: Tensor, noise: Tensor, count: int, size: int) -> LocalCrops:
    """Random crops with their centres in uncertain or background regions.

    An image with fewer such centres than crops may have them anywhere.

    Args:
        image: `(B, 3, H, W)`.
        region: `(B, H, W)` of `region_mask`.
        noise: `(B, n)` uniform random numbers that choose the centres; `n` is at least the number of possible
            centres.
        count: Crops K of an image.
        size: Side of a crop in pixels.

    Raises:
        ValueError: the crops do not fit into the image.
    """
    margin = size // 2
    places = [length - 2 * margin for length in image.shape[-2:]]
    if min(places) < 1 or places[0] * places[1] < count:
        raise ValueError(
            f"{count} local crops of {size} pixels do not fit into "
            f"{image.shape[-2]}x{image.shape[-1]} pixels; lower ctc.crop_size"
        )
    centres = region[:, margin : margin + places[0], margin : margin + places[1]].flatten(1)
    candidates = centres <= 1
    candidates = candidates | (candidates.sum(dim=1, keepdim=True) < count)
    chosen = (noise[:, : centres.shape[1]] + candidates).topk(count).indices  # (B, K)
    offsets = torch.arange(size, device=image.device)
    rows = (chosen // places[1])[:, :, None, None] + offsets[:, None]  # (B, K, s, 1)
    columns = (chosen % places[1])[:, :, None, None] + offsets  # (B, K, 1, s)
    batch = torch.arange(len(image), device=image.device)[:, None, None, None]
    crops = image.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 1, 4, 2, 3)
    mean_region = region[batch, rows, columns].float().mean(dim=(2, 3))
    return LocalCrops(crops, mean_region > NEGATIVE_RATIO)


def global_view(image: Tensor, noise: Tensor, min_area: float = 0.4) -> Tensor:
    """A random resized crop of each image, at the size of the image; half of them are mirrored.

    Args:
        image: `(B, 3, H, W)`.
        noise: `(B, 5)` uniform random numbers for area, aspect ratio, row, column and mirroring.
        min_area: Smallest share of the image's area; the aspect ratio is from 3/4 to 4/3.
    """
    area, ratio, row, column, mirror = noise.unbind(dim=1)
    ratio = torch.exp((2 * ratio - 1) * math.log(4 / 3)).sqrt()
    side = (min_area + (1 - min_area) * area).sqrt()
    height, width = (side / ratio).clamp(max=1), (side * ratio).clamp(max=1)  # shares of the image
    theta = image.new_zeros(len(image), 2, 3)
    theta[:, 0, 0] = torch.where(mirror < 0.5, -width, width)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (2 * column - 1) * (1 - width)
    theta[:, 1, 2] = (2 * row - 1) * (1 - height)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


class ProjectionHead(nn.Module):
    """DINO's projection head: a three-layer MLP, L2 normalisation, and a weight-normalised last layer.

    Args:
        channels: Width of the tokens.
        hidden: Hidden width of the MLP.
        bottleneck: Output width of the MLP.
        num_outputs: Output width of the last layer.
    """

    def __init__(
        self, channels: int, hidden: int = 2048, bottleneck: int = 256, num_outputs: int = 1024
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last_layer = nn.Linear(bottleneck, num_outputs, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(..., channels)` -> `(..., num_outputs)`: cosines in [-1, 1] with the rows of the last layer."""
        unit = F.normalize(self.mlp(tokens), dim=-1)
        return F.linear(unit, F.normalize(self.last_layer.weight, dim=-1))


@in_float32
def class_token_contrast(student: Tensor, teacher: Tensor, positive: Tensor, temperature: float) -> Tensor:
    """The CTC loss, the mean over images and teacher views.

    Args:
        student: `(B, S, D)` projected class tokens of all views of an image.
        teacher: `(B, T, D)` projected class tokens of its global views; they get no gradient.
        positive: `(B, S)` bool; False marks negative views.
        temperature: 0.5 for VOC, 1.0 for COCO.

    Returns:
        Scalar.
    """
    logits = teacher.detach() @ student.transpose(1, 2) / temperature  # (B, T, S)
    # column S is the extra term of similarity 0 (see above)
    similarity = torch.cat([logits, torch.zeros_like(logits[..., :1])], dim=2)
    summed = torch.cat([positive, torch.ones_like(positive[:, :1])], dim=1)[:, None]  # (B, 1, S + 1)
    negative_logits = logits.masked_fill(positive[:, None], -torch.inf)
    negatives = torch.logaddexp(
        negative_logits.logsumexp(dim=2, keepdim=True), logits.new_full((), EPSILON).log()
    )
    losses = torch.logaddexp(similarity, negatives) - similarity  # -log softmax of each positive
    return ((losses * summed).sum(dim=2) / (positive.sum(dim=1, keepdim=True) + EPSILON)).mean()
