"""Optimiser and schedule of the CLIP, the ResNet and the ViT: AdamW, linear warm-up, one cosine."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def make_optimizer(
    module: nn.Module, lr: float, weight_decay: float, steps: int, warmup: int
) -> tuple[AdamW, LambdaLR]:
    """Optimiser and learning rate schedule, which is to be stepped after every step.

    Args:
        module: Network to train.
        lr: Largest learning rate, reached after `warmup` steps; it falls to 2 % of this at `steps`.
        weight_decay: Of matrices; vectors and scalars have none.
        steps: Length of the training.
        warmup: Steps of the linear rise.
    """
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=lr, betas=(0.9, 0.98))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, steps - warmup)
        return 0.02 + 0.98 * (1 + math.cos(math.pi * min(progress, 1.0))) / 2

    return optimizer, LambdaLR(optimizer, factor)
