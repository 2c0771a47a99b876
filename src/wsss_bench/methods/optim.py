"""Optimiser and learning-rate schedule of the field: SGD or AdamW, linear warm-up, then polynomial decay per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class OptimConfig:
    """How a method is optimised.

    Args:
        name: `sgd` or `adamw`.
        lr: Peak learning rate of a group with `lr_scale` 1.
        weight_decay: Of every parameter of a group that does not set its own; nothing is exempt silently.
        momentum: Of SGD. `published` is what IRN, PSA and CLIMS run with: their optimiser class passes its weight decay in the
            place of the momentum, so that 1e-4 stands where the papers say 0.9. The default is 0, the same to four digits.
        betas: Of AdamW.
        power: Exponent of the polynomial decay to zero at the last step.
        decay_every: The rate of the decay changes every so many steps (DeepLab's Caffe schedule: 10).
        warmup_steps: Steps of linear warm-up.
        warmup_ratio: Share of the learning rate at step 0 of the warm-up.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    weight_decay: float = 1e-4
    momentum: float | Literal["published"] = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    power: float = 0.9
    decay_every: int = 1
    warmup_steps: int = 0
    warmup_ratio: float = 1e-6


def poly_warmup(
    step: int, total_steps: int, power: float, warmup_steps: int = 0, warmup_ratio: float = 1e-6
) -> float:
    """Factor on the learning rate in the step with zero-based index `step`.

    Linear from `warmup_ratio` to 1 over `warmup_steps`, then `(1 - step / total_steps) ** power` (not shifted by the
    warm-up, as in ToCo's PolyWarmupAdamW); after `total_steps` the last value stays (as in IRN's PolyOptimizer).
    """
    if step < warmup_steps:
        return 1 - (1 - step / warmup_steps) * (1 - warmup_ratio)
    return (1 - min(step, total_steps - 1) / total_steps) ** power


def build_optimizer(groups: list[dict[str, Any]], config: OptimConfig) -> Optimizer:
    """Optimiser over `groups`: dicts with `params` and optionally `lr_scale` and `weight_decay`.

    Raises:
        ValueError: a group has a key that means nothing here.
    """
    resolved = []
    for group in groups:
        if unknown := set(group) - {"params", "lr_scale", "weight_decay"}:
            raise ValueError(
                f"parameter groups take params, lr_scale and weight_decay; got {sorted(unknown)}"
            )
        parameters = [parameter for parameter in group["params"] if parameter.requires_grad]
        weight_decay = group.get("weight_decay", config.weight_decay)
        if parameters:
            scale = group.get("lr_scale", 1.0)
            resolved.append({"params": parameters, "lr": config.lr * scale, "weight_decay": weight_decay})
    if config.name == "sgd":
        momentum = config.weight_decay if config.momentum == "published" else config.momentum
        return torch.optim.SGD(resolved, lr=config.lr, momentum=momentum)
    return torch.optim.AdamW(resolved, lr=config.lr, betas=config.betas)


def build_schedule(optimizer: Optimizer, config: OptimConfig, total_steps: int) -> LambdaLR:
    """The schedule of `config` over `total_steps` optimiser steps; `step()` is called after each."""

    def factor(step: int) -> float:
        if step >= config.warmup_steps:
            step -= step % config.decay_every
        return poly_warmup(step, total_steps, config.power, config.warmup_steps, config.warmup_ratio)

    return LambdaLR(optimizer, factor)
