"""What stops a training: a gradient that is not finite, and not a loss that is not finite."""

import copy

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from wsss_bench.methods.base import Method
from wsss_bench.methods.gradient_guard import GradientGuard
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.types import ImageBatch


def parameter(gradient):
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor(gradient)
    return weight


@pytest.mark.parametrize("gradient", [float("nan"), float("inf"), float("-inf")])
def test_a_gradient_that_is_not_finite_names_step_losses_and_images(gradient):
    guard = GradientGuard()
    guard.add_batch({"a": torch.tensor(2.0)}, ["first"])
    guard.add_step([parameter([1.0, 1e30])], 0)
    guard.add_batch({"a": torch.tensor(float("nan")), "b": torch.tensor(0.5)}, ["x"])
    guard.add_batch({"a": torch.tensor(float("nan")), "b": torch.tensor(0.5)}, ["y"])  # accumulated
    with pytest.raises(ValueError, match=r"gradient is not finite at step 1: a=nan, b=0\.5; images x, y\."):
        guard.add_step([parameter([0.0, 0.0]), parameter([gradient, 1.0])], 1)


def test_parameters_without_gradient_do_not_matter():
    guard = GradientGuard()
    guard.add_step([nn.Parameter(torch.zeros(1))], 0)
    guard.check()
    assert copy.deepcopy(guard)


class Logarithm(Method):
    """-log of a weight, and a constant: with a negative weight, NaN with a finite gradient."""

    supervision = "image"
    batch_type = ImageBatch

    def __init__(self, start, infinite_step=None):
        super().__init__(["thing"], OptimConfig(name="sgd", lr=0.1, power=0.0))
        self.weight = nn.Parameter(torch.tensor(start))
        self.infinite_step = infinite_step

    def training_loss(self, batch):
        scale = float("inf") if self.global_step == self.infinite_step else 1.0
        return {"logarithm": -scale * self.weight.log()}


def train(method, tmp_path, steps=3):
    batch = ImageBatch(
        ["one"], torch.rand(1, 3, 8, 8), torch.ones(1, 1), torch.ones(1, 8, 8, dtype=torch.bool)
    )
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
        default_root_dir=tmp_path,        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(method, torch.utils.data.DataLoader([batch] * steps, batch_size=None))
    return trainer


def test_a_loss_that_is_nan_with_a_finite_gradient_trains_on(tmp_path):
    method = Logarithm(-0.5)
    trainer = train(method, tmp_path)
    assert trainer.global_step == 3
    assert torch.isnan(trainer.callback_metrics["train/logarithm"])
    assert -10 < method.weight.item() < -0.5


def test_a_gradient_that_is_not_finite_stops_before_the_step(tmp_path):
    method = Logarithm(0.5, infinite_step=1)
    with pytest.raises(ValueError, match=r"not finite at step 1: logarithm=inf; images one"):
        train(method, tmp_path)
    assert torch.isfinite(method.weight)


def test_no_checkpoint_is_written_after_a_gradient_that_is_not_finite():
    """On a GPU steps are checked later, but before a checkpoint."""
    method = Logarithm(0.5)
    guard = method._gradient_guard
    guard.add_batch({"a": torch.tensor(1.0)}, ["late"])
    guard._steps.append(guard_step(number=7))
    with pytest.raises(ValueError, match="not finite at step 7"):
        method.on_save_checkpoint({})


def guard_step(number):
    from wsss_bench.methods.gradient_guard import _Step

    return _Step(number, torch.tensor(float("nan")), {"a": torch.tensor(1.0)}, ["late"])
