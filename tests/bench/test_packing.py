"""How stages are packed, ordered and checked, with a launcher that starts no process."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import yaml
from fakes import run_stage

from wsss_bench.artifacts.files import write_manifest
from wsss_bench.bench import results, runner
from wsss_bench.bench.launchers import Job, Running
from wsss_bench.bench.resources import Machine, gpus_of, ranks_of
from wsss_bench.bench.run_bench import find_machine, run_bench
from wsss_bench.bench.runner import Runner
from wsss_bench.bench.validate import check_stages, validate
from wsss_bench.bench.visible_gpus import visible_gpus
from wsss_bench.plan.plan import StageFolder
from wsss_bench.plan.planner import make_plan
from wsss_bench.ranges import check_range


class Held(Running):
    """A job that runs until its status is read for the second time."""

    def __init__(self, launcher: InProcess, job: Job) -> None:
        self._launcher, self._job, self._asked = launcher, job, 0

    @property
    def exit_status(self) -> int | None:
        if self._job in self._launcher.terminated:
            return -15
        self._asked += 1
        if self._asked < 2:
            return None
        self._launcher.running.remove(self._job)
        return self._launcher.target(list(self._job.arguments))

    def terminate(self) -> None:
        self._launcher.terminated.append(self._job)

    def kill(self) -> None:
        self._launcher.stopped.append(self._job)


class InProcess:
    """A launcher without processes that records which jobs ran at the same time."""

    def __init__(self, target=run_stage) -> None:
        self.target = target
        self.jobs: list[Job] = []
        self.running: list[Job] = []
        self.terminated: list[Job] = []
        self.stopped: list[Job] = []
        self.most = 0
        self.gpus_in_use: list[list[str]] = []

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass

    def start(self, job: Job) -> Held:
        job.folder.mkdir(parents=True, exist_ok=True)
        self.jobs.append(job)
        self.running.append(job)
        self.most = max(self.most, len(self.running))
        self.gpus_in_use.append([gpu for other in self.running for gpu in other.gpus or ()])
        return Held(self, job)


class Silent:
    def started(self, stage):
        pass

    def finished(self, stage, seconds, failure):
        pass

    def elsewhere(self, stage, holder):
        pass

    def stalled(self, stage, seconds):
        pass

    def set_aside(self, gpu, left):
        pass

    def stopping(self, trainings):
        pass

    def tick(self, snapshot):
        pass


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.0)


def run(project, file: Path, machine: Machine) -> InProcess:
    launcher = InProcess()
    plan = make_plan(file, project.runs)
    assert Runner(plan, StageFolder(project.runs), machine, launcher, Silent()).run() == []
    return launcher


def with_trainer(project, **trainer: object) -> Path:
    project.write("configs/trainer/special.yaml", {"trainer": trainer})
    return project.experiment(trainer="special", random_seeds=[0, 1, 2])


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_jobs_than_allowed(project, jobs):
    assert run(project, project.experiment(random_seeds=[0, 1, 2]), Machine(jobs)).most == jobs


def test_each_stage_has_a_gpu_of_its_own(project):
    file = with_trainer(project, accelerator="gpu", devices=1)
    launcher = run(project, file, Machine(4, ("3", "5")))
    for used in launcher.gpus_in_use:
        assert len(set(used)) == len(used)
    assert {gpu for used in launcher.gpus_in_use for gpu in used} == {"3", "5"}
    for job in launcher.jobs:
        wants = job.arguments[0] in ("fit", "predict")
        assert len(job.gpus or ()) == (1 if wants else 0)  # scoring sees no GPU
        assert job.gpus is not None
        assert not job.ranks


def test_all_gpus_for_a_stage_with_ranks(project):
    file = with_trainer(project, accelerator="gpu", devices="auto", strategy="ddp")
    launcher = run(project, file, Machine(4, ("0", "1")))
    for job in launcher.jobs:
        if job.arguments[0] == "fit":
            assert (job.gpus, job.ranks) == (("0", "1"), True)


def test_cpu_ranks_take_a_slot_each(project):
    launcher = run(project, with_trainer(project, accelerator="cpu", devices=2), Machine(2))
    assert all(job.ranks == (job.arguments[0] in ("fit", "predict")) for job in launcher.jobs)


@pytest.mark.parametrize(
    ("trainer", "ranks", "gpus"),
    [
        ({"accelerator": "cpu", "devices": 1}, 1, 0),
        ({"accelerator": "cpu", "devices": 2}, 2, 0),
        ({"accelerator": "gpu", "devices": [0, 3]}, 2, 2),
        ({"accelerator": "gpu", "devices": -1}, 4, 4),
        ({"accelerator": "gpu", "devices": 2, "num_nodes": 2}, 4, 2),
    ],
)
def test_ranks_and_gpus_of_a_trainer(project, trainer, ranks, gpus):
    stage = next(iter(make_plan(with_trainer(project, **trainer), project.runs).stages.values()))
    assert (ranks_of(stage, 4), gpus_of(stage, 4)) == (ranks, gpus)


@pytest.mark.parametrize("accelerator", ["gpu", "cpu"])
def test_a_refiner_that_can_use_a_gpu_gets_one_where_the_trainer_has_one(project, accelerator):
    project.write("configs/refine/walk.yaml", {"refiner": {"class_path": "fake.Walk"}, "uses_gpu": True})
    project.write("configs/trainer/special.yaml", {"trainer": {"accelerator": accelerator, "devices": 1}})
    plan = make_plan(project.experiment(trainer="special", refiners=["threshold", "walk"]), project.runs)
    stages = [stage for stage in plan.stages.values() if stage.kind == "refine"]
    refines = {stage.config["refiner"]["class_path"]: stage for stage in stages}
    walk = refines.pop("fake.Walk")
    on_gpu = accelerator == "gpu"
    assert (gpus_of(walk, 2), ranks_of(walk, 2), walk.config.get("accelerator")) == (
        (1, 1, "gpu") if on_gpu else (0, 1, None)
    )
    for stage in refines.values():
        assert gpus_of(stage, 2) == 0
        assert "accelerator" not in stage.config


def test_the_machine(project, monkeypatch):
    for chosen, seen in {
        "": [],
        "-1": [],
        "NoDevFiles": [],
        "void": [],
        "0,0": ["0"],
        "3,-1,4": ["3"],
        "GPU-5f1c-a, MIG-7": ["GPU-5f1c-a", "MIG-7"],
        "2, 4": ["2", "4"],
    }.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert visible_gpus() == seen
    plan = make_plan(with_trainer(project, accelerator="gpu", devices=1), project.runs)
    stages = list(plan.stages.values())
    assert find_machine(stages, None) == Machine(2, ("2", "4"))
    assert find_machine(stages, 5) == Machine(5, ("2", "4"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ValueError, match=r"asks for 1 GPU\(s\) and 0 are visible; set `trainer: cpu`"):
        find_machine(stages, None)
    on_cores = [stage for stage in stages if stage.command == "evaluate"]
    assert find_machine(on_cores, 3) == Machine(3)  # what is left of a matrix needs no GPU


@pytest.mark.parametrize("recorded", [True, False])
def test_the_longest_chain_of_stages_goes_first(project, recorded):
    """By what earlier runs took, or by the estimates that are given."""
    plan = make_plan(project.experiment(methods=["cam", "full"], random_seeds=[0]), project.runs)
    known = {stage.fingerprint: 1.0 for stage in plan.stages.values()}
    for stage in plan.stages.values():
        if stage.title.startswith("full") and stage.kind == "train":
            known[stage.fingerprint] = 500.0
        if recorded:
            earlier = project.runs / "stages" / f"{stage.kind}-{stage.title}-{stage.fingerprint[::-1][:8]}"
            found = {"kind": stage.kind, "title": stage.title, "wall_seconds": known[stage.fingerprint]}
            write_manifest(earlier, found)
    launcher = InProcess()
    seconds = None if recorded else (lambda stage: known[stage.fingerprint])
    Runner(plan, StageFolder(project.runs), Machine(1), launcher, Silent(), seconds=seconds).run()
    trains = [job.folder.name for job in launcher.jobs if job.arguments[0] == "fit"]
    assert [name.split("-")[1] for name in trains] == ["full", "cam"]


def test_waiting_stages_are_looked_at_when_one_ends_and_not_all_the_time(project, monkeypatch):
    class Slow(Held):
        @property
        def exit_status(self) -> int | None:
            self._asked += 1
            return None if self._asked < 300 else super().exit_status

    class Patient(InProcess):
        def start(self, job: Job) -> Held:
            super().start(job)
            return Slow(self, job)

    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    looks: list[Path] = []
    monkeypatch.setattr(runner, "LOOK_SECONDS", 1e9)  # those besides depend on how busy the machine is
    is_complete = runner.is_complete
    monkeypatch.setattr(runner, "is_complete", lambda path: looks.append(path) or is_complete(path))
    assert Runner(plan, StageFolder(project.runs), Machine(1), Patient(), Silent()).run() == []
    assert len(looks) < 20 * len(plan.stages)


def test_a_stage_that_cannot_be_started_is_a_failure(project):
    class Full(InProcess):
        def start(self, job: Job) -> Held:
            raise OSError(28, "No space left on device")

    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    failures = Runner(plan, StageFolder(project.runs), Machine(1), Full(), Silent()).run()
    assert "could not be started" in failures[0].reason
    assert len(failures) == 7


def test_everything_is_stopped_when_the_runner_is_interrupted(project):
    class Interrupting(Silent):
        def tick(self, snapshot):
            raise KeyboardInterrupt

    launcher = InProcess()
    plan = make_plan(project.experiment(), project.runs)
    with pytest.raises(KeyboardInterrupt):
        Runner(plan, StageFolder(project.runs), Machine(2), launcher, Interrupting()).run()
    assert len(launcher.stopped) == 2
    assert launcher.terminated == launcher.stopped


def test_bad_configurations_are_all_named_before_anything_starts(project, monkeypatch):
    def check(name: str, config: dict) -> None:
        if name == "fit":
            check_range("model.init_args.width", -1, 1)

    fake = types.ModuleType("wsss_bench.stages.check")
    fake.check = check  # type: ignore[attr-defined]
    fake.check_class = fake.TryOut = lambda: check  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wsss_bench.stages.check", fake)
    stages = list(make_plan(project.experiment(), project.runs).stages.values())
    with pytest.raises(ValueError, match="nothing was started") as caught:
        validate(stages, InProcess(check_stages))
    assert "train cam-toy-s0, train full-toy-s0: model.init_args.width is -1" in str(caught.value)
    assert "evaluate" not in str(caught.value)


def test_a_full_disk_has_a_message_of_its_own(project, monkeypatch):
    def publish(plan, runs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "publish", publish)
    with pytest.raises(ValueError, match="the disk is full"):
        run_bench(make_plan(project.experiment(), project.runs), project.runs, 2, InProcess())


def test_plan_files_are_plain_yaml(project):
    launcher = run(project, project.experiment(methods=["cam"]), Machine(1))
    for job in launcher.jobs:
        text = (job.folder / "plan.yaml").read_text()
        assert "&id" not in text  # no anchors: people read this
        assert yaml.safe_load(text)["out"] == str(job.folder)
