"""Projection head of DINO and of ToCo's class token contrast.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, https://arxiv.org/abs/2104.14294;
widths of ToCo (Ru et al., CVPR 2023, https://github.com/rulixiang/ToCo).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """Three layers, unit length, then cosines with learned directions.

    Args:
        channels: Width of the tokens.
        hidden: Width inside.
        bottleneck: Width of the unit vectors.
        num_outputs: Number of directions.
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
        self.directions = nn.Linear(bottleneck, num_outputs, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(N, channels)` -> `(N, num_outputs)` in [-1, 1]."""
        unit = F.normalize(self.mlp(tokens), dim=-1)
        return F.linear(unit, F.normalize(self.directions.weight, dim=-1))
