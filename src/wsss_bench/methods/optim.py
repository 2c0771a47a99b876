"""Optimisers (SGD, AdamW) and learning-rate schedules (warm-up; polynomial, cosine or milestones)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from wsss_bench.ranges import check_range, check_ranges


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and learning-rate schedule of a method.

    Args:
        name: `sgd` or `adamw`.
        lr: Peak learning rate of a parameter group with `lr_scale` 1.
        weight_decay: Weight decay of all parameter groups that do not set their own (norms and biases
            included).
        momentum: Momentum of SGD. `published` reproduces the code of IRN, PSA and CLIMS: their optimiser
            class passes the weight decay as the momentum, so 1e-4 is used where the papers state 0.9. With
            the default 0 the steps are nearly the same.
        nesterov: Use Nesterov momentum (SGD).
        betas: Betas of AdamW.
        eps: Epsilon of AdamW.
        decay: `poly` decays to zero at the last step, `cosine` to `final_ratio`.
        power: Exponent of the polynomial decay.
        final_ratio: Final learning rate of the cosine decay, as a fraction of the peak.
        milestones: Fractions of the training at which the learning rate is divided by 10, instead of the
            polynomial decay (MCIS: start of epochs 5 and 10).
        decay_every: The decayed learning rate is updated every this many steps (Caffe schedule of DeepLab:
            10).
        warmup_steps: Number of steps of the linear warm-up.
        warmup_ratio: Learning rate at step 0 of the warm-up, as a fraction of the peak.
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

    def __post_init__(self) -> None:
        check_range("optim.lr", self.lr, 0)
        check_range("optim.weight_decay", self.weight_decay, 0)
        if self.momentum != "published":
            check_range("optim.momentum", self.momentum, 0, below=1)
        check_ranges("optim.betas", self.betas, 0, below=1)
        check_range("optim.eps", self.eps, 0)
        check_range("optim.power", self.power, 0)
        check_range("optim.final_ratio", self.final_ratio, 0, 1)
        check_ranges("optim.milestones", self.milestones, 0, 1, empty=True)
        check_range("optim.decay_every", self.decay_every, 1)
        check_range("optim.warmup_steps", self.warmup_steps, 0)
        check_range("optim.warmup_ratio", self.warmup_ratio, 0, 1)


def poly_warmup(
    step: int, total_steps: int, power: float, warmup_steps: int = 0, warmup_ratio: float = 1e-6
) -> float:
    """Factor of the learning rate at the zero-based step `step`, with polynomial decay.

    Linear from `warmup_ratio` to 1 over `warmup_steps`, then `(1 - step / total_steps) ** power`, which is
    not shifted by the warm-up (PolyWarmupAdamW of ToCo). After `total_steps` the last value is kept
    (PolyOptimizer of IRN).

    Examples:
        >>> [round(poly_warmup(step, 100, power=1.0, warmup_steps=10), 2) for step in (0, 5, 10, 50, 99)]
        [0.0, 0.5, 0.9, 0.5, 0.01]
    """
    if step < warmup_steps:
        return 1 - (1 - step / warmup_steps) * (1 - warmup_ratio)
    return (1 - min(step, total_steps - 1) / total_steps) ** power


def cosine_warmup(
    step: int, total_steps: int, final_ratio: float, warmup_steps: int = 0, warmup_ratio: float = 1e-6
) -> float:
    """Factor of the learning rate at the zero-based step `step`, with cosine decay.

    Linear from `warmup_ratio` to 1 over `warmup_steps`, then half a cosine from 1 to `final_ratio` at
    `total_steps`.

    Examples:
        >>> [round(cosine_warmup(step, 100, final_ratio=0.1), 2) for step in (0, 50, 100, 120)]
        [1.0, 0.55, 0.1, 0.1]
    """
    if step < warmup_steps:
        return poly_warmup(step, total_steps, 1.0, warmup_steps, warmup_ratio)
    progress = min((step - warmup_steps) / max(1, total_steps - warmup_steps), 1.0)
    return final_ratio + (1 - final_ratio) * (1 + math.cos(math.pi * progress)) / 2


def vectors_without_decay(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Two parameter groups: one-dimensional parameters (biases, norms) without weight decay, and all others.

    Scalars have weight decay, as in TCL and CoDe.
    """
    parameters = list(parameters)
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim != 1]},
        {"params": [parameter for parameter in parameters if parameter.ndim == 1], "weight_decay": 0.0},
    ]


def optims_of(groups: Sequence[dict[str, Any]], config: OptimConfig) -> list[OptimConfig]:
    """The optimiser of each group with trainable parameters: its own, or `config`."""
    trained = (group for group in groups if any(p.requires_grad for p in group["params"]))
    return [group.get("optim", config) for group in trained]


def build_optimizer(groups: Sequence[dict[str, Any]], config: OptimConfig) -> Optimizer:
    """Optimiser of the trainable parameters of `groups`.

    Args:
        groups: Dicts with `params` and optionally `lr_scale` (factor of the learning rate), `weight_decay`
            and `optim` (an `OptimConfig` of its own in place of `config`).
        config: Optimiser and its hyperparameters.

    Returns:
        One optimiser; if groups have others of their own, one that steps them all.

    Raises:
        ValueError: a group has an unknown key.
    """
    resolved: dict[OptimConfig, list[dict[str, Any]]] = {}
    order = []
    for group in groups:
        if unknown := set(group) - {"params", "lr_scale", "weight_decay", "optim"}:
            raise ValueError(
                f"parameter groups take params, lr_scale, weight_decay and optim; got {sorted(unknown)}"
            )
        parameters = [parameter for parameter in group["params"] if parameter.requires_grad]
        own: OptimConfig = group.get("optim", config)
        weight_decay = group.get("weight_decay", own.weight_decay)
        if parameters:
            scale = group.get("lr_scale", 1.0)
            order.append({"params": parameters, "lr": own.lr * scale, "weight_decay": weight_decay})
            resolved.setdefault(own, []).append(order[-1])
    parts = [_optimizer(members, own) for own, members in resolved.items()]
    return parts[0] if len(parts) == 1 else JoinedOptimizer(order, parts)


def _optimizer(groups: list[dict[str, Any]], config: OptimConfig) -> Optimizer:
    if config.name == "sgd":
        momentum = config.weight_decay if config.momentum == "published" else config.momentum
        return torch.optim.SGD(groups, lr=config.lr, momentum=momentum, nesterov=config.nesterov)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps)


class JoinedOptimizer(Optimizer):
    """Several optimisers of different parameters as one: one step, one schedule, one state in checkpoints.

    Args:
        groups: The parameter groups of all of them, in the order of the method.
        parts: The optimisers; each has some of `groups`.
    """

    def __init__(self, groups: list[dict[str, Any]], parts: Sequence[Optimizer]) -> None:
        self._parts = list(parts)
        self._members = [
            [next(i for i, group in enumerate(groups) if group is own) for own in part.param_groups]
            for part in parts
        ]
        super().__init__(groups, {})
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step of each optimiser."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Let the optimisers use the groups and the state of this one."""
        for part, members in zip(self._parts, self._members, strict=True):
            part.param_groups = [self.param_groups[i] for i in members]
            part.state = self.state


def build_schedule(
    optimizer: Optimizer, configs: OptimConfig | Sequence[OptimConfig], total_steps: int
) -> LambdaLR:
    """Schedule over `total_steps` optimiser steps; `step()` must be called after each of them.

    Args:
        optimizer: What `build_optimizer` made.
        configs: That of all groups, or one for each (`optims_of`).
        total_steps: Number of steps.
    """
    if isinstance(configs, OptimConfig):
        configs = [configs] * len(optimizer.param_groups)
    return LambdaLR(
        optimizer, [partial(_factor, config=config, total_steps=total_steps) for config in configs]
    )


def _factor(step: int, config: OptimConfig, total_steps: int) -> float:
    """Factor of the learning rate at a step."""
    if config.decay == "cosine":
        return cosine_warmup(step, total_steps, config.final_ratio, config.warmup_steps, config.warmup_ratio)
    if step >= config.warmup_steps:
        step -= step % config.decay_every
    if config.milestones and step >= config.warmup_steps:
        return 0.1 ** sum(step >= round(share * total_steps) for share in config.milestones)
    return poly_warmup(step, total_steps, config.power, config.warmup_steps, config.warmup_ratio)
