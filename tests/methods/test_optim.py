"""Schedules and optimisers against the authors' arrays (IRN's PolyOptimizer, ToCo's PolyWarmupAdamW)."""

import copy

import numpy as np
import paths
import pytest
import torch
from torch import nn

from wsss_bench.methods.optim import OptimConfig, build_optimizer, build_schedule, optims_of, poly_warmup

GOLDEN = paths.GOLDEN


def test_sgd_follows_the_trajectory_of_irn():
    golden = np.load(GOLDEN / "clims" / "poly_optimizer.npz")
    first = nn.Parameter(torch.tensor(golden["initial"][:2], dtype=torch.float32))
    second = nn.Parameter(torch.tensor(golden["initial"][2:], dtype=torch.float32))
    target = torch.tensor(golden["target"])
    config = OptimConfig(name="sgd", lr=0.1, weight_decay=1e-4, momentum="published")
    optimizer = build_optimizer([{"params": [first]}, {"params": [second], "lr_scale": 10.0}], config)
    # the weight decay has landed in the place of the momentum
    assert (
        [group["momentum"] for group in optimizer.param_groups]
        == golden["sgd_momentum"].tolist()
        == [1e-4] * 2
    )
    schedule = build_schedule(optimizer, config, int(golden["max_step"]))
    rates, trajectory = [], []
    for _ in range(8):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.zero_grad()
        ((torch.cat([first, second]) - target) ** 2).sum().backward()
        optimizer.step()
        schedule.step()
        trajectory.append(torch.cat([first, second]).detach().numpy().copy())
    np.testing.assert_allclose(rates, golden["lr"], rtol=1e-6)
    np.testing.assert_allclose(trajectory, golden["trajectory"], rtol=1e-5, atol=1e-6)


def test_warmup_follows_toco():
    golden = np.load(GOLDEN / "single_stage" / "lr_schedule_poly_warmup.npz")
    factors = np.array([poly_warmup(int(i), 20_000, 0.9, 1_500, 1e-6) for i in golden["iters"]])
    np.testing.assert_allclose(factors[:, None] * np.array([6e-5, 6e-4]), golden["lrs"], rtol=1e-6)


def test_weight_decay_is_exactly_as_written():
    weight, bias, frozen = (nn.Parameter(torch.ones(2)) for _ in range(3))
    frozen.requires_grad_(False)
    groups = [{"params": [weight, frozen]}, {"params": [bias], "weight_decay": 0.0, "lr_scale": 20.0}]
    optimizer = build_optimizer(groups, OptimConfig(name="adamw", lr=0.01, weight_decay=0.05))
    assert [(g["weight_decay"], g["lr"], len(g["params"])) for g in optimizer.param_groups] == [
        (0.05, 0.01, 1),
        (0.0, 0.2, 1),
    ]


def test_unknown_group_key_is_refused():
    with pytest.raises(ValueError, match="lr_mult"):
        build_optimizer([{"params": [], "lr_mult": 2}], OptimConfig())


def test_a_group_with_its_own_optimiser_is_trained_by_it():
    """Joined optimisers do what each of them does alone, also after their state was stored and loaded."""
    own = OptimConfig(name="adamw", lr=0.01, decay="cosine", warmup_steps=2)
    shared = OptimConfig(name="sgd", lr=0.1, momentum=0.9)
    start = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))

    def groups(values):
        first, second = (nn.Parameter(value.clone()) for value in values)
        return [{"params": [first], "optim": own}, {"params": [second], "lr_scale": 2.0}]

    def stepped(parts, steps):
        for _ in range(steps):
            for optimizer, schedule in parts:
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        parameter.grad = parameter.detach() * 2
                optimizer.step()
                schedule.step()

    def made(groups):
        optimizer = build_optimizer(groups, shared)
        return optimizer, build_schedule(optimizer, optims_of(groups, shared), 10)

    joined, alone = groups(start), groups(start)
    stepped([made([group]) for group in alone], 6)
    first = made(joined)
    stepped([first], 3)
    resumed = groups([group["params"][0].detach() for group in joined])
    second = made(resumed)
    for one, other in zip(first, second, strict=True):
        other.load_state_dict(copy.deepcopy(one.state_dict()))
    stepped([second], 3)
    for expected, found in zip(alone, resumed, strict=True):
        torch.testing.assert_close(found["params"][0], expected["params"][0], rtol=0, atol=0)
