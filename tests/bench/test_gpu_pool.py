"""Which GPUs a stage gets, and which are set aside."""

from __future__ import annotations

from wsss_bench.bench.gpu_pool import GPUPool


def test_gpus_are_given_and_given_back():
    pool = GPUPool(["a", "b", "c"])
    assert pool.take("one", 2) == ("a", "b")
    assert pool.free_for("two", 1) == ["c"]
    pool.give_back(("a",))
    assert pool.free_for("two", 1) == ["a", "c"]


def test_a_stage_moves_once_and_never_back():
    pool = GPUPool(["a", "b"])
    assert pool.failed("one", ("a",))
    assert pool.free_for("one", 1) == ["b"]
    assert not pool.failed("one", ("b",))


def test_a_stage_of_all_gpus_cannot_move():
    assert not GPUPool(["a", "b"]).failed("one", ("a", "b"))
    assert not GPUPool(["a"]).failed("one", ("a",))


def test_what_has_failed_comes_last():
    pool = GPUPool(["a", "b"])
    pool.failed("one", ("a",))
    assert pool.free_for("two", 1) == ["b", "a"]


def test_two_stages_set_a_gpu_aside_and_their_second_failure_brings_it_back():
    pool = GPUPool(["a", "b", "c"])
    pool.failed("one", ("a",))
    assert pool.set_aside == []
    pool.failed("two", ("a",))
    assert pool.set_aside == ["a"]
    assert (pool.usable, pool.free_for("three", 1)) == (2, ["b", "c"])
    pool.failed("two", ("b",))  # fails everywhere
    assert pool.set_aside == []
    assert set(pool.free_for("three", 1)) == {"a", "b", "c"}


def test_the_same_stage_twice_is_one_stage():
    pool = GPUPool(["a", "b"])
    pool.failed("one", ("a",))
    pool.failed("one", ("a",))
    assert pool.set_aside == []


def test_never_are_all_set_aside():
    pool = GPUPool(["a", "b"])
    for number in range(4):
        pool.failed(f"stage {number}", ("ab"[number % 2],))
    assert pool.set_aside == []
    assert pool.free_for("new", 1) == ["a", "b"]


def test_a_stage_that_needs_them_gets_gpus_that_are_set_aside_or_failed_it():
    """Else it would wait for ever."""
    pool = GPUPool(["a", "b", "c"])
    assert not pool.failed("two", ("a", "b"))  # there is no other pair
    assert pool.free_for("two", 2) == ["c", "a", "b"]
    pool.failed("one", ("a",))
    assert pool.set_aside == ["a"]
    assert pool.free_for("pair", 2) == ["c", "b"]
    assert set(pool.free_for("all", 3)) == {"a", "b", "c"}


def test_a_pair_moves_to_another_pair():
    pool = GPUPool(["a", "b", "c", "d"])
    assert pool.failed("pair", ("a", "b"))
    assert pool.free_for("pair", 2) == ["c", "d"]
