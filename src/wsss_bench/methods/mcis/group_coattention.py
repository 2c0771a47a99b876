"""Co-attention messages between the feature maps of three images: the unpublished group variant of MCIS.

`CoattentionModel10` of https://github.com/GuoleiSun/MCIS_wsss (commit 1fc8f75, `models/vgg_backup.py`). No
released script and no paper that we know of uses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.methods.mcis.coattention import CoAttention


class GroupCoAttention(nn.Module):
    """Message passing with co-attention; all images and rounds share one set of weights.

    In each round, co-attention gives the attended features G_{i<-j} and G_{i<-k} of image i from the two
    others. The message is m_i = W_f [G_{i<-j}; G_{i<-k}] and the updated feature h_i = ReLU(W_u [m_i; h_i]).
    All messages of a round use the features of the previous round.

    Args:
        channels: Number of feature channels C.
        num_classes: Number of foreground classes K.
        rounds: Number of message-passing rounds.
    """

    def __init__(self, channels: int, num_classes: int, rounds: int = 3) -> None:
        super().__init__()
        self.coattention = CoAttention(channels, num_classes)
        del self.coattention.mask  # no contrastive co-attention
        self.fusion = nn.Conv2d(2 * channels, channels, 1, bias=False)  # W_f
        self.update = nn.Conv2d(2 * channels, channels, 1, bias=False)  # W_u
        self.rounds = rounds

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Three `(B, C, H_i, W_i)` features -> three `(B, K, H_i, W_i)` maps of the common classes."""
        states = list(features)
        for _ in range(self.rounds):
            # the affinity of (i, j) is not the transpose of that of (j, i): the receiving image comes first
            attended = [
                [self.coattention.of_first(states[i], states[j]) for j in range(len(states)) if j != i]
                for i in range(len(states))
            ]
            messages = [self.fusion(torch.cat(pair, dim=1)) for pair in attended]
            states = [
                F.relu(self.update(torch.cat([message, state], dim=1)))
                for message, state in zip(messages, states, strict=True)
            ]
        return [self.coattention.common_class_maps(state) for state in states]
