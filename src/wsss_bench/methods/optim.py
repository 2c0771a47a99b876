"""Optimiser and learning-rate schedule of the field: SGD or AdamW, warm-up, then polynomial or cosine decay, or milestones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
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
        nesterov: Nesterov's form of SGD's momentum.
        betas: Of AdamW.
        eps: Of AdamW.
        decay: `poly` falls to zero at the last step, `cosine` to `final_ratio`.
        power: Exponent of the polynomial decay.
        final_ratio: Share of the learning rate that the cosine ends at.
        milestones: Shares of the training at which the learning rate falls to a tenth, in place of the polynomial decay
            (MCIS: starts of epochs 5 and 10).
        decay_every: The rate of the decay changes every so many steps (DeepLab's Caffe schedule: 10).
        warmup_steps: Steps of linear warm-up.
        warmup_ratio: Share of the learning rate at step 0 of the warm-up.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    weight_decay: float = 1e-4
    momentum: float | Literal["published"] = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    decay: Literal["poly", "cosine"] = "poly"
    power: float = 0.9
    final_ratio: float = 0.0
    milestones: tuple[float, ...] = ()
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


def cosine_warmup(
    step: int, total_steps: int, final_ratio: float, warmup_steps: int = 0, warmup_ratio: float = 1e-6
) -> float:
    """Factor on the learning rate in the step with zero-based index `step`.

    Linear from `warmup_ratio` to 1 over `warmup_steps`, then half a cosine from 1 to `final_ratio` at `total_steps`.
    """
    if step < warmup_steps:
        return poly_warmup(step, total_steps, 1.0, warmup_steps, warmup_ratio)
    progress = min((step - warmup_steps) / max(1, total_steps - warmup_steps), 1.0)
    return final_ratio + (1 - final_ratio) * (1 + math.cos(math.pi * progress)) / 2


def vectors_without_decay(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Groups in which one-dimensional parameters (biases, norms) have no weight decay; scalars have it (TCL, CoDe)."""
    parameters = list(parameters)
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim != 1]},
        {"params": [parameter for parameter in parameters if parameter.ndim == 1], "weight_decay": 0.0},
    ]


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
        return torch.optim.SGD(resolved, lr=config.lr, momentum=momentum, nesterov=config.nesterov)
    return torch.optim.AdamW(resolved, lr=config.lr, betas=config.betas, eps=config.eps)


def build_schedule(optimizer: Optimizer, config: OptimConfig, total_steps: int) -> LambdaLR:
    """The schedule of `config` over `total_steps` optimiser steps; `step()` is called after each."""

    def factor(step: int) -> float:
        if config.decay == "cosine":
            return cosine_warmup(
                step, total_steps, config.final_ratio, config.warmup_steps, config.warmup_ratio
            )
        if step >= config.warmup_steps:
            step -= step % config.decay_every
        if config.milestones and step >= config.warmup_steps:
            return 0.1 ** sum(step >= round(share * total_steps) for share in config.milestones)
        return poly_warmup(step, total_steps, config.power, config.warmup_steps, config.warmup_ratio)

    return LambdaLR(optimizer, factor)
