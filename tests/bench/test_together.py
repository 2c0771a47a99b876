"""Predictions that share a network run in one process, and alone where one of them fails."""

import copy
from dataclasses import replace

import pytest
from fakes import run_stage
from project import METHODS, Project

from wsss_bench.bench.launchers import LocalLauncher
from wsss_bench.bench.run_bench import run_bench
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError

NAMES = ["zero", "other", "third"]


SPLITS = ("-val", "-val_ood")


def add_methods(project: Project, **changes) -> None:
    """Three readings of one network, the third under another `inference`."""
    for number, name in enumerate(NAMES):
        content = copy.deepcopy(METHODS["zero"])
        content["model"]["init_args"] = {"clip": "a", "block": name}
        content["inference"] = {"window": 8 if name == "third" else 4}
        content["bench"]["shares"] = "clip"
        content["model"]["init_args"] |= changes if number == 1 else {}
        project.write(f"configs/methods/{name}.yaml", content)


def bench(project: Project) -> int:
    file = project.experiment(methods=NAMES, refiners=[])
    return run_bench(make_plan(file, project.runs), project.runs, 2, LocalLauncher(run_stage, preload=()))


def processes(project: Project, kind: str) -> dict[str, list[str]]:
    """Process ids of the attempts of each stage, by its title."""
    return {
        path.parent.name.rpartition("-")[0]: path.read_text().split()
        for path in (project.runs / "stages").glob(f"{kind}-*/attempts.txt")
    }


def test_predictions_are_grouped_by_network_images_and_inference(project):
    add_methods(project)
    plan = make_plan(project.experiment(methods=NAMES, refiners=[]), project.runs)
    groups = {}
    for stage in plan.stages.values():
        groups.setdefault(stage.shares, set()).add(f"{stage.kind} {stage.title}")
    single = {stage.name for stage in plan.stages.values() if stage.kind == "evaluate"}
    assert groups.pop("") == single
    assert sorted(map(sorted, groups.values())) == sorted(
        [
            ["crf other-toy-s0-val", "crf zero-toy-s0-val"],
            ["crf other-toy-s0-val_ood", "crf zero-toy-s0-val_ood"],
            ["crf third-toy-s0-val"],
            ["crf third-toy-s0-val_ood"],
            ["predict other-toy-s0-val", "predict zero-toy-s0-val"],
            ["predict other-toy-s0-val_ood", "predict zero-toy-s0-val_ood"],
            ["predict third-toy-s0-val"],
            ["predict third-toy-s0-val_ood"],
            ["seed other-toy-s0", "seed zero-toy-s0"],
            ["seed third-toy-s0"],
        ]
    )


def test_what_is_shared_does_not_change_what_a_stage_is(project):
    add_methods(project)
    file = project.experiment(methods=NAMES, refiners=[])
    shared = make_plan(file, project.runs).stages
    content = copy.deepcopy(METHODS["zero"])
    content["model"]["init_args"] = {"clip": "a", "block": "zero"}
    content["inference"] = {"window": 4}
    project.write("configs/methods/zero.yaml", content)
    assert list(make_plan(file, project.runs).stages) == list(shared)


@pytest.mark.slow
def test_a_group_is_one_process(project, capsys):
    add_methods(project)
    assert bench(project) == 0
    for kind, suffix in (("seed", ""), *((kind, split) for kind in ("predict", "crf") for split in SPLITS)):
        found = processes(project, kind)
        zero, other, third = (found[f"{kind}-{name}-toy-s0{suffix}"] for name in NAMES)
        assert zero == other != third
        assert len(zero) == len(third) == 1
    logs = [path.read_text() for path in (project.runs / "stages").glob("seed-*-toy-s0-*/log.txt")]
    assert sum("runs together with seed" in text for text in logs) == 1
    printed = capsys.readouterr().out
    assert "predict other-toy-s0-val" in printed
    assert bench(project) == 0
    assert {len(ids) for ids in processes(project, "predict").values()} == {1}


@pytest.mark.slow
def test_stages_of_several_ranks_run_alone(project):
    add_methods(project)
    project.write("configs/trainer/cpu.yaml", {"trainer": {"accelerator": "cpu", "devices": 2}})
    launched = []

    class Noting(LocalLauncher):
        def start(self, job):
            launched.append(list(job.arguments))
            return super().start(replace(job, ranks=False))  # fake stages start no ranks

    file = project.experiment(methods=NAMES, refiners=[])
    launcher = Noting(run_stage, preload=())
    assert run_bench(make_plan(file, project.runs), project.runs, 2, launcher) == 0
    kinds = {arguments[0] for arguments in launched if "--together" in arguments}
    assert kinds == {"crf"}  # which has one process for any number of ranks


@pytest.mark.slow
def test_one_that_fails_does_not_take_the_others_with_it(project, capsys):
    add_methods(project, fail="no such reading", at="seed")
    assert bench(project) == 1
    captured = capsys.readouterr()
    printed = captured.out + captured.err
    assert "together with others; tried again alone" in printed
    found = processes(project, "seed")
    assert len(found["seed-other-toy-s0"]) == 2
    assert "no such reading" in printed
    table = (project.runs / "toy" / "leaderboard.csv").read_text()
    assert "zero" in table
    stages = project.runs / "stages"
    assert all((path / "stage.json").is_file() for path in stages.glob("*-zero-*"))
    assert not [path for path in stages.glob("seed-other-*") if (path / "stage.json").is_file()]


@pytest.mark.parametrize(
    ("shares", "trains", "message"),
    [("clip", True, "only methods without training"), ("clp", False, "did you mean 'clip'")],
)
def test_what_shares_nothing_is_refused(shares, trains, message, project):
    add_methods(project)
    content = copy.deepcopy(METHODS["zero"])
    content["model"]["init_args"] = {"clip": "a"}
    content["bench"] |= {"shares": shares, "trains": trains}
    project.write("configs/methods/zero.yaml", content)
    with pytest.raises(ConfigError, match=message):
        make_plan(project.experiment(methods=NAMES, refiners=[]), project.runs)
