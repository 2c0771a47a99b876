"""The order in which stages start."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from wsss_bench.bench.order import by_longest_chain
from wsss_bench.bench.resources import Machine
from wsss_bench.bench.running import Snapshot
from wsss_bench.bench.time_left import TimeLeft
from wsss_bench.plan.plan import Stage


def stage(name: str, *inputs: Stage) -> Stage:
    keys = {str(number): one.fingerprint for number, one in enumerate(inputs)}
    return Stage("train", name, {}, keys, name, Path(name), "")


def ordered(stages: list[Stage], seconds: dict[str, float]) -> list[str]:
    plan = SimpleNamespace(stages={one.fingerprint: one for one in stages})
    return [one.title for one in by_longest_chain(plan, lambda one: seconds.get(one.title))]


def test_what_much_waits_for_comes_before_what_takes_longer_itself():
    short = stage("short")
    reader = stage("reader", short)
    last = stage("last", reader)
    long = stage("long")
    seconds = {"short": 1.0, "reader": 5.0, "last": 20.0, "long": 22.0}
    assert ordered([long, short, reader, last], seconds) == ["short", "reader", "long", "last"]


def test_of_several_readers_the_longest_counts():
    first, second = stage("first"), stage("second")
    readers = [stage("a", first), stage("b", first), stage("c", second)]
    seconds = {"first": 1.0, "second": 1.0, "a": 5.0, "b": 6.0, "c": 10.0}
    assert ordered([first, second, *readers], seconds) == ["second", "c", "first", "b", "a"]


def test_without_any_estimate_the_plan_decides():
    first = stage("first")
    names = [one.title for one in (first, stage("second"), stage("third", first))]
    assert ordered([first, stage("second"), stage("third", first)], {}) == names


@pytest.mark.parametrize("place", [0, 2])
def test_what_leads_to_a_stage_of_unknown_length_comes_first(place):
    start = stage("start")
    stages = [stage("long"), stage("longer")]
    stages.insert(place, start)
    stages.append(stage("unknown", start))
    seconds = {"start": 1.0, "long": 50.0, "longer": 60.0}
    assert ordered(stages, seconds) == ["start", "unknown", "longer", "long"]


def test_two_jobs_end_together_where_the_order_of_the_plan_leaves_one_idle():
    """A long training that comes last in the plan: 100 s of work for two jobs."""
    stages = []
    for number in range(6):
        train = stage(f"train {number}")
        stages += [train, stage(f"seed {number}", train)]
    stages.append(stage("supervised"))
    seconds = {one.title: 10.0 for one in stages} | {"supervised": 60.0, "train 0": 20.0, "seed 0": 10.0}
    plan = SimpleNamespace(stages={one.fingerprint: one for one in stages})

    def left(waiting: list[Stage]) -> float:
        estimate = TimeLeft(Machine(2), lambda one: seconds[one.title])
        return estimate.left(Snapshot([], waiting, [], len(stages))).seconds

    total = sum(seconds.values())
    assert left(by_longest_chain(plan, lambda one: seconds[one.title])) <= total / 2 + 10
    assert left(stages) >= total / 2 + 25
