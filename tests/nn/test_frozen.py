"""A frozen network that is no submodule of its holder."""

import torch
from torch import nn

from wsss_bench.nn.frozen import Frozen


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.own = nn.Linear(2, 2)
        self.frozen = Frozen(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))


def test_it_is_not_in_parameters_or_checkpoints_and_is_never_trained():
    holder = Holder().train()
    assert [name for name, _ in holder.named_parameters()] == ["own.weight", "own.bias"]
    assert list(holder.state_dict()) == ["own.weight", "own.bias"]
    holder.load_state_dict(Holder().state_dict(), strict=True)
    assert not holder.frozen.network.training
    assert not any(parameter.requires_grad for parameter in holder.frozen.network.parameters())


def test_it_moves_with_its_holder_and_lets_gradients_through():
    holder = Holder().double()
    assert holder.frozen.network[0].weight.dtype == torch.float64
    image = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    holder.frozen.network(image).sum().backward()
    torch.testing.assert_close(image.grad[0], holder.frozen.network[0].weight.sum(dim=0))
    assert holder.frozen.network[0].weight.grad is None
