"""The optimiser of all three pretrainings: AdamW, linear warm-up, one cosine."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def make_optimizer(
    module: nn.Module, lr: float, weight_decay: float, steps: int, warmup: int
) -> tuple[AdamW, LambdaLR]:
    """AdamW without decay on vectors and scalars; lr rises for `warmup` steps and falls to 2 % at `steps`."""
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=lr, betas=(0.9, 0.98))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, steps - warmup)
        return 0.02 + 0.98 * (1 + math.cos(math.pi * min(done, 1.0))) / 2

    return optimizer, LambdaLR(optimizer, factor)
