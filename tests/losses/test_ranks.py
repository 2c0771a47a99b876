"""Two ranks with different numbers of items, also none, have the gradient of one process."""

import pytest
import torch
from torch import distributed

from wsss_bench.losses.ranks import (
    channel_dropout,
    image_dropout,
    mean_over_ranks,
    mean_over_valid,
    sum_over_ranks,
)


def gradients_on_a_rank(rank, counts):
    """Gradients of the mean and of the sum of all items, as data-parallel training averages them."""
    weight = torch.tensor(2.0, requires_grad=True)
    items = torch.arange(1.0, 1 + sum(counts)).split(counts)[rank]
    mean, total = mean_over_ranks(weight * items), sum_over_ranks((weight * items).sum())
    gradients = torch.stack([torch.autograd.grad(loss, weight)[0] for loss in (mean, total)])
    distributed.all_reduce(gradients)
    return (gradients / 2).tolist()


@pytest.mark.parametrize("counts", [(3, 1), (2, 0)])
def test_two_ranks_have_the_gradient_of_one_process(counts, rank_pair):
    outputs = rank_pair.call(gradients_on_a_rank, counts)
    items = torch.arange(1.0, 1 + sum(counts))
    for output in outputs:
        assert output == pytest.approx([items.mean().item(), items.sum().item()])


def test_without_items_mean_and_sum_are_zero_with_zero_gradient():
    weight = torch.tensor(2.0, requires_grad=True)
    loss = mean_over_ranks(weight * torch.zeros(0)) + sum_over_ranks((weight * torch.zeros(0)).sum())
    loss.backward()
    assert loss.item() == 0
    assert weight.grad.item() == 0


def test_mean_over_valid_is_the_mean_over_the_pixels_that_count():
    losses = torch.arange(24.0).reshape(2, 3, 4)
    valid = losses % 5 == 0
    assert mean_over_valid(losses, valid) == pytest.approx(10.0)
    assert mean_over_valid(losses, torch.zeros_like(valid)) == 0


def test_what_does_not_count_may_be_infinite():
    losses = torch.tensor([1.0, torch.inf, 3.0, torch.nan], requires_grad=True)
    loss = mean_over_valid(losses, torch.tensor([True, False, True, False]))
    loss.backward()
    assert loss.item() == 2
    assert losses.grad.tolist() == [0.5, 0, 0.5, 0]


def test_dropout_of_an_image_does_not_depend_on_the_rest_of_the_batch():
    features = torch.ones(3, 4, 50)
    whole = image_dropout(features, 0.3, ["a", "b", "c"], 7, "head")
    torch.testing.assert_close(image_dropout(features[1:], 0.3, ["b", "c"], 7, "head"), whole[1:])
    assert whole.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert whole.mean() == pytest.approx(1, abs=0.1)
    for step, place in ((8, "head"), (7, "")):
        assert not torch.equal(image_dropout(features, 0.3, ["a", "b", "c"], step, place), whole)


def test_dropout_of_channels_drops_them_at_all_places():
    tokens = torch.ones(2, 6, 200)
    dropped = channel_dropout(tokens, 0.3, ["a", "b"], 7, "fusion")
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert not torch.equal(dropped[0], dropped[1])
    torch.testing.assert_close(channel_dropout(tokens[1:], 0.3, ["b"], 7, "fusion"), dropped[1:])
