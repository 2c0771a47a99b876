"""Properties of the global batches, for any number of images, batch size, ranks and length of an epoch."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_bench.data.samplers import GlobalBatchSampler

CHECKED = settings(max_examples=50, deadline=None)


@st.composite
def splits(draw, drop_last=None):
    """Arguments of `GlobalBatchSampler` except the rank: batches that the ranks can share evenly."""
    world_size = draw(st.integers(1, 4))
    global_batch_size = world_size * draw(st.integers(1, 6))
    drop_last = draw(st.booleans()) if drop_last is None else drop_last
    length = global_batch_size * draw(st.integers(1, 6))
    # the incomplete last batch: of any size if it is left out, else a multiple of the number of ranks
    rest = draw(st.integers(0, global_batch_size - 1))
    length += rest if drop_last else rest - rest % world_size
    epoch_length = draw(st.none() | st.integers(1, 15)) if drop_last else None
    return {
        "length": length,
        "global_batch_size": global_batch_size,
        "world_size": world_size,
        "drop_last": drop_last,
        "random_seed": draw(st.integers(0, 2**31)),
        "epoch_length": epoch_length,
    }


def keys_of(split, epoch, rank=0):
    sampler = GlobalBatchSampler(rank=rank, **split)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert len(keys) == len(sampler)
    return keys


def batches_of(split, epoch, rank=0):
    """The keys of a rank in an epoch, divided into batches."""
    keys, size = keys_of(split, epoch, rank), split["global_batch_size"] // split["world_size"]
    return [keys[start : start + size] for start in range(0, len(keys), size)]


@CHECKED
@given(splits(), st.integers(0, 20))
def test_ranks_together_have_the_batches_of_one_process(split, epoch):
    alone = batches_of({**split, "world_size": 1}, epoch)
    ranks = [batches_of(split, epoch, rank) for rank in range(split["world_size"])]
    assert {len(batches) for batches in ranks} == {len(alone)}
    for batch, *shares in zip(alone, *ranks, strict=True):
        assert sorted(key for share in shares for key in share) == sorted(batch)
        assert len({len(share) for share in shares}) == 1


@CHECKED
@given(splits(), st.integers(1, 4))
def test_each_image_comes_at_most_once_in_a_pass(split, epochs):
    keys = [
        key
        for epoch in range(epochs)
        for rank in range(split["world_size"])
        for key in keys_of(split, epoch, rank)
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= index < split["length"] for _, index in keys)
    if split["epoch_length"] is None and not split["drop_last"]:
        assert len(keys) == epochs * split["length"]


@CHECKED
@given(splits(), st.integers(0, 4), st.integers(1, 3))
def test_a_training_resumed_at_an_epoch_draws_what_an_uninterrupted_one_draws(split, done, left):
    rank = split["world_size"] - 1
    uninterrupted = GlobalBatchSampler(rank=rank, **split)
    drawn = []
    for epoch in range(done + left):
        uninterrupted.set_epoch(epoch)
        drawn.append(list(uninterrupted))
    assert [keys_of(split, epoch, rank) for epoch in range(done, done + left)] == drawn[done:]


@CHECKED
@given(splits(drop_last=True), st.integers(1, 15), st.integers(1, 15))
def test_the_length_of_an_epoch_does_not_change_the_order_of_the_batches(split, first, second):
    """Epochs of any length divide the same sequence of batches."""
    batches = math.lcm(first, second)
    sequences = [
        [
            batch
            for epoch in range(batches // length)
            for batch in batches_of({**split, "epoch_length": length}, epoch)
        ]
        for length in (first, second)
    ]
    assert len(sequences[0]) == batches
    assert sequences[0] == sequences[1]


@CHECKED
@given(splits())
def test_the_length_is_the_number_of_images_of_a_rank(split):
    used = split["length"]
    if split["drop_last"]:
        used -= used % split["global_batch_size"]
    if split["epoch_length"] is not None:
        used = split["epoch_length"] * split["global_batch_size"]
    lengths = [len(GlobalBatchSampler(rank=rank, **split)) for rank in range(split["world_size"])]
    assert lengths == [used // split["world_size"]] * split["world_size"]
