"""Messages among the feature maps of three images: the unreleased group variant of MCIS.

`CoattentionModel10` of https://github.com/GuoleiSun/MCIS_wsss (commit 1fc8f75, `models/vgg_backup.py`), which no published
script and no paper that we know of uses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.mcis.coattention import CoAttention


class GroupCoAttention(nn.Module):
    """Co-attention, read and written in rounds, with one set of weights for all images and rounds.

    In a round each image is drawn from the features of the two others, G_{i<-j} and G_{i<-k}; the message is
    m_i = W_f [G_{i<-j}; G_{i<-k}] and the new feature h_i = ReLU(W_u [m_i; h_i]). All messages of a round read the features of
    the round before.

    Args:
        channels: Width C of the features.
        num_classes: Foreground classes K.
        rounds: How often messages are passed.
    """

    def __init__(self, channels: int, num_classes: int, rounds: int = 3) -> None:
        super().__init__()
        self.coattention = CoAttention(channels, num_classes)
        del self.coattention.mask  # nothing is contrasted
        self.fusion = nn.Conv2d(2 * channels, channels, 1, bias=False)  # W_f
        self.update = nn.Conv2d(2 * channels, channels, 1, bias=False)  # W_u
        self.rounds = rounds

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Three `(B, C, H_i, W_i)` features -> three `(B, K, H_i, W_i)` maps of the classes that the group has in common."""
        states = list(features)
        for _ in range(self.rounds):
            # P of (i, j) is not that of (j, i) transposed: the receiver always comes first
            drawn = [
                [self.coattention(states[i], states[j])[0] for j in range(len(states)) if j != i]
                for i in range(len(states))
            ]
            messages = [self.fusion(torch.cat(pair, dim=1)) for pair in drawn]
            states = [
                F.relu(self.update(torch.cat([message, state], dim=1)))
                for message, state in zip(messages, states, strict=True)
            ]
        return [self.coattention.common_maps(state) for state in states]
