"""Which stage runs where and when, in virtual time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import paths
import pytest
import yaml
from simulated import simulate

from wsss_bench.artifacts.files import write_json
from wsss_bench.artifacts.layout import PROGRESS
from wsss_bench.bench.resources import Machine, gpus_of
from wsss_bench.plan.costs.devices import GPUS
from wsss_bench.plan.costs.estimates import Estimates
from wsss_bench.plan.plan import Stage, StageFolder
from wsss_bench.plan.planner import make_plan

EIGHT = tuple(str(number) for number in range(8))
CUDA = "RuntimeError: CUDA error: an illegal memory access was encountered"


def stage(root: Path, name: str, gpus: int, *inputs: Stage) -> Stage:
    trainer = {"accelerator": "gpu", "devices": gpus} if gpus else {"accelerator": "cpu"}
    keys = {str(number): one.fingerprint for number, one in enumerate(inputs)}
    return Stage("train", name, {"trainer": trainer}, keys, name, root / "stages" / name, "")


class Bench:
    """Some stages, with their seconds."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.monkeypatch = root, monkeypatch
        self.stages: list[Stage] = []
        self.seconds: dict[str, float] = {}

    def add(self, name: str, gpus: int, seconds: float, *inputs: Stage) -> Stage:
        self.stages.append(stage(self.root, name, gpus, *inputs))
        self.seconds[name] = seconds
        return self.stages[-1]

    def run(self, machine: Machine, ends=None, message: str = "", others=()):
        plan = SimpleNamespace(stages={one.fingerprint: one for one in self.stages})
        return simulate(
            self.monkeypatch, plan, StageFolder(self.root), machine, self.seconds_of, ends, message, others
        )

    def seconds_of(self, stage: Stage) -> float:
        return self.seconds[stage.title]


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def voc(tmp_path, monkeypatch, ends=None, gpus=EIGHT):
    """VOC with three random seeds, as the cost model expects it on A100s; and a lower bound of its time."""
    content = yaml.safe_load((paths.ROOT / "experiments" / "voc.yaml").read_text())
    file = tmp_path / "voc.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(content | {"random_seeds": [0, 1, 2]}))
    plan = make_plan(file, tmp_path, configs=paths.CONFIGS)
    for one in plan.stages.values():
        object.__setattr__(one, "shares", "")
    folder = StageFolder(tmp_path)
    estimates = Estimates(plan, folder, GPUS["a100"], 8)
    known = {key: estimates.cost(one).seconds or 600.0 for key, one in plan.stages.items()}

    def seconds(one: Stage) -> float:
        return known[one.fingerprint]

    chains: dict[str, float] = {}
    for key, one in plan.stages.items():
        chains[key] = known[key] + max((chains[k] for k in one.inputs.values()), default=0.0)
    on_gpus = sorted((known[key] for key, one in plan.stages.items() if gpus_of(one, 8)), reverse=True)
    bound = max(sum(on_gpus) / len(gpus), max(chains.values()), packing_bound(on_gpus, len(gpus)))
    found = simulate(monkeypatch, plan, folder, Machine(8, gpus), seconds, ends and ends(seconds), CUDA)
    return plan, found, bound


def packing_bound(seconds: list[float], gpus: int) -> float:
    """No schedule is shorter: of the k * gpus + 1 longest stages, some GPU runs k + 1."""
    rounds = range(1, (len(seconds) - 1) // gpus + 1)
    return max((sum(seconds[: k * gpus + 1][-k - 1 :]) for k in rounds), default=0.0)


def test_voc_with_three_random_seeds_keeps_eight_gpus_busy(tmp_path, monkeypatch):
    plan, found, bound = voc(tmp_path, monkeypatch)
    assert found.failures == []
    assert len(found.history) == len(plan.stages) > 150
    assert found.seconds < 1.1 * bound


def test_a_dead_gpu_costs_its_share(tmp_path, monkeypatch):
    """Every stage on it dies after 20 s: two are moved, and seven GPUs do the work."""

    def ends(seconds):
        return lambda one, gpus, attempt: (20.0, 1) if "3" in gpus else (seconds(one), 0)

    _, found, _ = voc(tmp_path, monkeypatch, ends)
    _, eight, _ = voc(tmp_path / "eight", monkeypatch)
    others = tuple(gpu for gpu in EIGHT if gpu != "3")
    _, seven, bound = voc(tmp_path / "seven", monkeypatch, gpus=others)
    assert found.failures == []
    assert "3 set aside, 7 left" in found.said
    assert sum("3" in one.gpus for one in found.history) == 2
    assert found.seconds < (1 + 1 / 8) * eight.seconds
    assert found.seconds < 1.02 * seven.seconds  # as if it had never been there
    assert seven.seconds < 1.15 * bound


def test_a_gpu_is_free_while_the_crf_of_its_masks_runs(tmp_path, monkeypatch):
    """One GPU: the CRF of a method takes as long as all predictions, and these follow one another."""
    content = {"methods": ["sclip", "naclip", "maskclip"], "data": ["voc"], "trainer": "gpu"}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(content))
    plan = make_plan(tmp_path / "one.yaml", tmp_path, configs=paths.CONFIGS)
    for one in plan.stages.values():
        object.__setattr__(one, "shares", "")
    long = {"predict": 10.0, "crf": 30.0, "evaluate": 0.0, "seed": 0.0}
    machine = Machine(4, ("0",))
    found = simulate(monkeypatch, plan, StageFolder(tmp_path), machine, lambda one: long[one.kind])
    predictions, crfs = (
        [one for one in found.history if one.stage.kind == kind] for kind in ("predict", "crf")
    )
    assert len(predictions) == len(crfs) >= 3
    assert all(one.gpus for one in predictions)
    assert not any(one.gpus for one in crfs)
    begins = sorted(one.begin for one in predictions)
    assert [begin - begins[0] for begin in begins] == [10.0 * number for number in range(len(begins))]
    first = min(crfs, key=lambda one: one.begin)
    assert any(first.begin <= one.begin < first.end for one in predictions)


def test_stages_on_cores_do_not_hold_gpus(bench):
    for number in range(4):
        bench.add(f"crf {number}", 0, 100.0)
    for number in range(4):
        bench.add(f"train {number}", 1, 50.0)
    found = bench.run(Machine(2, ("0", "1")))
    assert [found.begin(f"train {number}") for number in range(4)] == [0.0, 0.0, 50.0, 50.0]
    assert [found.begin(f"crf {number}") for number in range(4)] == [0.0, 0.0, 100.0, 100.0]


def test_jobs_limit_stages_of_both_kinds(bench):
    for number in range(3):
        bench.add(f"train {number}", 1, 10.0)
        bench.add(f"crf {number}", 0, 10.0)
    found = bench.run(Machine(1, ("0", "1")))
    for kind in ("train", "crf"):
        assert sorted(found.begin(f"{kind} {number}") for number in range(3)) == [0.0, 10.0, 20.0]


def test_gpus_are_kept_for_a_stage_of_several(bench):
    """While short stages go on, it would never see four free GPUs."""
    first = bench.add("data", 0, 5.0)
    bench.add("four", 4, 1000.0, first)
    for number in range(40):
        bench.add(f"one {number:02}", 1, 10.0 + number % 7)
    found = bench.run(Machine(4, ("0", "1", "2", "3")))
    assert found.begin("four") <= 5.0 + 17.0
    assert found.failures == []


def test_a_short_stage_runs_on_a_gpu_that_is_kept_if_it_ends_in_time(bench):
    bench.add("long", 1, 100.0)
    data = bench.add("data", 0, 5.0)
    bench.add("two", 2, 500.0, data)
    bench.add("a", 1, 10.0)
    bench.add("b", 1, 60.0)
    bench.add("c", 1, 50.0)
    found = bench.run(Machine(2, ("0", "1")))
    assert found.begin("two") == 100.0
    assert max(found.begin(name) for name in "ab") < 100.0  # they end before the long one does
    assert found.begin("c") >= 600.0


def test_a_stage_that_fails_everywhere_is_to_blame_and_not_the_gpus(bench):
    for number in range(6):
        bench.add(f"train {number}", 1, 1000.0)
    broken = {"train 0", "train 1", "train 2"}

    def ends(one, gpus, attempt):
        return (10.0, 1) if one.title in broken else (1000.0, 0)

    found = bench.run(Machine(2, ("0", "1")), ends)
    assert {failure.stage.title for failure in found.failures} == broken
    assert sorted(sum(one.stage.title == name for one in found.history) for name in broken) == [2, 2, 2]
    last = [one.gpus for one in found.history if one.stage.title not in broken]
    assert {gpus[0] for gpus in last} == {"0", "1"}  # both are used in the end


def test_a_stage_never_returns_to_the_gpu_that_it_failed_on(bench):
    for number in range(6):
        bench.add(f"train {number}", 1, 100.0)

    def ends(one, gpus, attempt):
        return (1.0, 1) if gpus == ("1",) else (100.0, 0)

    found = bench.run(Machine(3, ("0", "1", "2")), ends)
    assert found.failures == []
    for one in bench.stages:
        places = [started.gpus for started in found.history if started.stage is one]
        assert len(set(places)) == len(places)


def test_a_stage_of_all_gpus_runs_though_one_is_set_aside(bench):
    """It may fail on it, but must not wait for ever."""
    for number in range(2):
        bench.add(f"train {number}", 1, 100.0)
    bench.add("both", 2, 50.0)

    def ends(one, gpus, attempt):
        return (1.0, 1) if "1" in gpus and one.title != "both" else (50.0, 0)

    found = bench.run(Machine(2, ("0", "1")), ends)
    assert found.failures == []
    assert found.begin("both") > 0.0


def test_the_last_gpu_is_not_set_aside(bench):
    for number in range(3):
        bench.add(f"train {number}", 1, 100.0)
    found = bench.run(Machine(1, ("0",)), lambda one, gpus, attempt: (5.0, 1))
    assert len(found.failures) == 3
    assert not any("set aside" in words for words in found.said)


@pytest.mark.parametrize(
    ("status", "message", "attempts"),
    [
        (-9, "", 2),
        (1, CUDA, 2),
        (1, "OSError: [Errno 116] Stale file handle: 'x'", 2),
        (1, "ValueError: expected 21 classes", 1),
        (1, "torch.OutOfMemoryError: CUDA out of memory.", 1),
    ],
)
def test_a_failure_that_may_pass_is_tried_again_once(bench, status, message, attempts):
    bench.add("train", 1, 1000.0)
    always = bench.run(Machine(1, ("0",)), lambda one, gpus, attempt: (500.0, status), message)
    assert len(always.history) == attempts
    assert len(always.failures) == 1


def test_a_training_that_outlives_several_nodes_goes_on_while_it_comes_further(bench):
    train = bench.add("train", 1, 1000.0)
    steps = iter([100, 250, 400, 400, 400])

    def ends(one, gpus, attempt):
        write_json(train.path / PROGRESS, {"done": next(steps), "total": 1000})
        return (500.0, -9)

    found = bench.run(Machine(1, ("0",)), ends)
    assert len(found.history) == 4  # not a fifth time: the fourth one came no further
    assert len(found.failures) == 1


def test_the_second_attempt_counts(bench):
    train = bench.add("train", 1, 1000.0)
    bench.add("seed", 1, 10.0, train)

    def ends(one, gpus, attempt):
        return (500.0, -9 if (one.title, attempt) == ("train", 1) else 0)

    found = bench.run(Machine(1, ("0",)), ends)
    assert found.failures == []
    assert [one.stage.title for one in found.history] == ["train", "train", "seed"]
