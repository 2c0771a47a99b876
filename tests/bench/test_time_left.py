"""The time that a bench has left, computed by hand."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from wsss_bench.artifacts.files import write_manifest
from wsss_bench.bench.resources import Machine
from wsss_bench.bench.running import Active, Snapshot
from wsss_bench.bench.stage_progress import progress_of
from wsss_bench.bench.time_left import Left, TimeLeft, rough
from wsss_bench.plan.plan import Stage

GPU = {"trainer": {"accelerator": "gpu", "devices": 1}}


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


def stage(name: str, *inputs: Stage, folder: Path = Path(), shares: str = "", **config) -> Stage:
    kind, _, title = name.partition(" ")
    keys = {str(number): one.fingerprint for number, one in enumerate(inputs)}
    return Stage(kind, title, config, keys, name, folder / name, shares)


def left(machine: Machine, waiting, seconds, active=()) -> Left:
    return TimeLeft(machine, lambda one: seconds.get(one.name)).left(Snapshot(active, waiting, [], 99))


def test_the_longest_chain_counts_and_not_only_the_sum():
    train = stage("train a")
    seed = stage("seed a", train)
    others = [stage(f"evaluate {k}") for k in range(3)]
    seconds = {"train a": 100.0, "seed a": 50.0, **{one.name: 10.0 for one in others}}
    waiting = [train, seed, *others]
    assert left(Machine(1), waiting, seconds) == Left(180.0)  # one after the other
    assert left(Machine(2), waiting, seconds) == Left(150.0)  # the others beside the chain
    assert left(Machine(8), waiting, seconds) == Left(150.0)  # more jobs do not shorten it


def test_waiting_stages_are_shared_by_the_jobs():
    waiting = [stage(f"seed {k}") for k in range(5)]
    seconds = {one.name: 60.0 for one in waiting}
    assert [left(Machine(jobs), waiting, seconds).seconds for jobs in (1, 2, 5)] == [300.0, 180.0, 60.0]


def test_a_stage_of_two_gpus_waits_until_both_are_free():
    both = stage("train both", trainer={"accelerator": "gpu", "devices": 2})
    ones = [stage(f"train {k}", **GPU) for k in (1, 2)]
    seconds = {"train both": 100.0, "train 1": 10.0, "train 2": 40.0}
    machine = Machine(2, ("0", "1"))
    assert left(machine, [*ones, both], seconds) == Left(140.0)
    assert left(machine, [both, *ones], seconds) == Left(140.0)


def test_a_stage_of_more_ranks_than_jobs_runs_alone():
    ranks = stage("train ranks", trainer={"accelerator": "cpu", "devices": 4})
    other = stage("seed other")
    assert left(Machine(2), [other, ranks], {"train ranks": 30.0, "seed other": 5.0}) == Left(35.0)


def test_stages_that_share_a_network_take_the_sum_in_one_process():
    waiting = [stage(f"predict {k}", shares="clip") for k in range(3)] + [stage("train a")]
    seconds = {one.name: 20.0 for one in waiting}
    assert left(Machine(2), waiting, seconds) == Left(60.0)


def test_what_runs_counts_what_it_has_left_and_frees_its_job(clock, tmp_path):
    train = stage("train a", folder=tmp_path)
    seed, other = stage("seed a", train), stage("seed b")
    active = Active(train, [], None, (), 1, None, started=1000.0)
    clock.seconds += 40
    seconds = {"train a": 100.0, "seed a": 10.0, "seed b": 25.0}
    # 60 s left of the training; `seed b` runs beside it, `seed a` after it
    assert left(Machine(2), [seed, other], seconds, [active]) == Left(70.0)
    assert left(Machine(1), [seed, other], seconds, [active]) == Left(95.0)


def test_stages_of_unknown_length_make_it_a_lower_bound(clock):
    known, unknown = stage("seed a"), stage("train b")
    assert left(Machine(1), [known, unknown], {"seed a": 720.0}) == Left(720.0, 1)
    assert str(Left(720.0, 1)) == "more than 12 min left"
    assert str(Left(720.0)) == "about 12 min left"
    assert str(left(Machine(1), [unknown], {})) == ""
    # a stage that takes longer than planned and says nothing
    active = Active(known, [], None, (), 1, None, started=1000.0)
    clock.seconds += 800
    assert left(Machine(1), [], {"seed a": 720.0}, [active]) == Left(0.0, 1)


def test_what_a_stage_took_holds_for_its_other_random_seeds(tmp_path):
    first = stage("train cam-toy-s0", folder=tmp_path)
    others = [stage(f"train cam-toy-s{k}") for k in (1, 2)]
    time_left = TimeLeft(Machine(1), lambda one: 100.0)
    snapshot = Snapshot([], [*others, stage("train clims-toy-s0")], [], 4)
    assert time_left.left(snapshot) == Left(300.0)
    first.path.mkdir()
    write_manifest(first.path, {"wall_seconds": 40.0})
    time_left.learn(first)
    # 40 s for each of them, and two fifths of its estimate for the other method
    assert time_left.left(snapshot) == Left(120.0)


def test_estimates_are_scaled_by_what_stages_took_so_far(tmp_path):
    done = [stage("seed a", folder=tmp_path), stage("train b", folder=tmp_path)]
    seconds = {"seed a": 100.0, "train b": 300.0, "train c": 60.0}
    time_left = TimeLeft(Machine(1), lambda one: seconds.get(one.name))
    snapshot = Snapshot([], [stage("train c"), stage("train unknown")], [], 4)
    for one, taken, expected in ((done[0], 150.0, 90.0), (done[1], 50.0, 30.0)):
        one.path.mkdir()
        write_manifest(one.path, {"wall_seconds": taken})
        time_left.learn(one)
        assert time_left.left(snapshot) == Left(expected, 1)


def progress(folder: Path, done, total, wall_seconds, planned, companions=()):
    one = stage("seed a", folder=folder)
    one.path.mkdir(exist_ok=True)
    content = {"done": done, "total": total, "unit": "images", "wall_seconds": wall_seconds}
    (one.path / "progress.json").write_text(json.dumps(content))
    active = Active(one, list(companions), None, (), 1, None, started=1000.0)
    return progress_of(active, planned)


def test_the_speed_of_a_stage_says_what_it_has_left(tmp_path):
    assert progress(tmp_path, 200, 1000, 30.0, None).left == pytest.approx(120.0)
    # after a tenth the plan no longer counts
    assert progress(tmp_path, 200, 1000, 30.0, 500.0).left == pytest.approx(120.0)
    assert progress(tmp_path, 1000, 1000, 30.0, 500.0).left == 0.0
    # after half a tenth it counts half: 0.95 * 200 s by the plan, 19 * 30 s by its speed
    assert progress(tmp_path, 50, 1000, 30.0, 200.0).left == pytest.approx((190.0 + 570.0) / 2)
    found = progress(tmp_path, 200, 1000, 30.0, None)
    assert (found.done, found.total, found.unit, found.share) == (200, 1000, "images", 0.2)


def test_stages_that_run_together_each_wrote_their_share_of_the_time(tmp_path):
    companions = [stage("seed b"), stage("seed c")]
    assert progress(tmp_path, 200, 1000, 30.0, None, companions).left == pytest.approx(360.0)


@pytest.mark.parametrize("content", ["", "[]", '{"done": "x", "total": 3}', '{"done": 0, "total": 9}'])
def test_without_progress_the_plan_counts(tmp_path, clock, content):
    one = stage("seed a", folder=tmp_path)
    one.path.mkdir()
    (one.path / "progress.json").write_text(content)
    active = Active(one, [], None, (), 1, None, started=1000.0)
    clock.seconds += 25
    assert (progress_of(active, 100.0).left, progress_of(active, 100.0).share) == (75.0, None)
    assert progress_of(active, None).left is None


def test_an_estimate_is_not_more_exact_than_it_is():
    texts = {
        0.4: "1 s",
        7.2: "7 s",
        9.6: "10 s",
        27: "30 s",
        57: "1 min",
        200: "3 min",
        3540: "59 min",
        4000: "1 h 10 min",
    }
    texts |= {7140: "2 h 00 min", 36100: "10 h", 50 * 3600: "50 h"}
    assert {seconds: rough(seconds) for seconds in texts} == texts
