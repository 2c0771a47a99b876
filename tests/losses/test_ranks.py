"""Two ranks with different numbers of items, also none, have the gradient of one process."""

import subprocess
import sys

import pytest
import torch

from wsss_bench.losses.ranks import mean_over_ranks, sum_over_ranks

RANKS = """
import sys, torch
from torch import distributed
from wsss_bench.losses.ranks import mean_over_ranks, sum_over_ranks
rank, store, counts = int(sys.argv[1]), sys.argv[2], [int(n) for n in sys.argv[3:]]
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
weight = torch.tensor(2.0, requires_grad=True)
items = torch.arange(1.0, 1 + sum(counts)).split(counts)[rank]
mean, total = mean_over_ranks(weight * items), sum_over_ranks((weight * items).sum())
gradients = torch.stack([torch.autograd.grad(loss, weight)[0] for loss in (mean, total)])
distributed.all_reduce(gradients)
print(*(gradients / 2).tolist())
"""


@pytest.mark.parametrize("counts", [(3, 1), (2, 0)])
def test_two_ranks_have_the_gradient_of_one_process(counts, tmp_path):
    command = [sys.executable, "-c", RANKS]
    arguments = [str(tmp_path / "store"), *map(str, counts)]
    ranks = [
        subprocess.Popen([*command, str(rank), *arguments], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    outputs = [rank.communicate(timeout=120)[0].split() for rank in ranks]
    items = torch.arange(1.0, 1 + sum(counts))
    for output in outputs:
        assert [float(value) for value in output] == pytest.approx([items.mean().item(), items.sum().item()])


def test_without_items_mean_and_sum_are_zero_with_zero_gradient():
    weight = torch.tensor(2.0, requires_grad=True)
    loss = mean_over_ranks(weight * torch.zeros(0)) + sum_over_ranks((weight * torch.zeros(0)).sum())
    loss.backward()
    assert loss.item() == 0
    assert weight.grad.item() == 0
