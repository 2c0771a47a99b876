"""`--set`: changes of an experiment's rows for one run."""

from __future__ import annotations

import pytest

from wsss_bench.cli import main
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError

VARIANTS = {
    "lr=0.1: high": {"method": "cam", "override": {"trainer": {"max_epochs": 2}}},
    "flipped": {"method": "cam", "override": {"inference": {"flip": False}}, "same_training": True},
}


def plan(project, *changes, **experiment):
    return make_plan(project.experiment(**experiment), project.runs, changes=changes)


def stages(plan, kind, start=""):
    return {
        stage.title: stage
        for stage in plan.stages.values()
        if stage.kind == kind and stage.title.startswith(start)
    }


def epochs(plan):
    return {name: stage.config["trainer"].get("max_epochs") for name, stage in stages(plan, "train").items()}


def test_one_row_several_or_all(project):
    assert epochs(plan(project)) == {"cam-toy-s0": 5, "full-toy-s0": None}
    assert epochs(plan(project, "cam:trainer.max_epochs=1")) == {"cam-toy-s0": 1, "full-toy-s0": None}
    for changes in (["trainer.max_epochs=1"], ["cam,full:trainer.max_epochs=1"], ["*:trainer.max_epochs=1"]):
        assert epochs(plan(project, *changes)) == {"cam-toy-s0": 1, "full-toy-s0": 1}
    later = plan(project, "trainer.max_epochs=1", "cam:trainer.max_epochs=3")
    assert epochs(later) == {"cam-toy-s0": 3, "full-toy-s0": 1}


def test_only_the_stages_that_it_concerns_are_other_ones(project):
    usual, changed = plan(project), plan(project, "cam:inference.flip=false")
    for kind, start, same in (("train", "cam", True), ("seed", "cam", False), ("predict", "full", True)):
        one, other = (
            {stage.fingerprint for stage in stages(each, kind, start).values()} for each in (usual, changed)
        )
        assert (one == other) is same
    assert changed.experiment.startswith("toy-set-")
    assert changed.experiment != plan(project, "cam:inference.flip=true").experiment


def test_an_unusual_name_of_a_row(project):
    changed = plan(project, "lr=0.1: high:trainer.max_epochs=1", variants=VARIANTS)
    assert epochs(changed) == {"cam-toy-s0": 5, "lr=0.1: high-toy-s0": 1, "full-toy-s0": None}


def test_a_training_that_is_shared_or_started_from(project):
    start = plan(project, "cam:trainer.max_epochs=1", methods=["cam", "clims"])
    assert epochs(start) == {"cam-toy-s0": 1, "clims-toy-s0": None}
    # where the first training is no row, it is changed by what is changed everywhere
    assert epochs(plan(project, "trainer.max_epochs=1", methods=["clims"])) == {
        "cam-toy-s0": 1,
        "clims-toy-s0": 1,
    }
    assert epochs(plan(project, "clims:trainer.max_epochs=1", methods=["clims"]))["cam-toy-s0"] == 5
    shared = plan(
        project, "flipped:trainer.max_epochs=1", methods=["cam"], variants={"flipped": VARIANTS["flipped"]}
    )
    assert epochs(shared) == {"cam-toy-s0": 5}


def test_values_are_yaml(project):
    changed = plan(project, "cam:inference.scales=[1.0, 2e-1]", "cam:model.init_args={width: 4}")
    (seed,) = stages(changed, "seed", "cam").values()
    assert seed.config["inference"]["scales"] == [1.0, 0.2]
    assert seed.config["model"]["init_args"] == {"width": 4}


def test_a_short_name_of_a_class_is_its_full_path(project):
    short, full = (
        plan(project, f"cam:model.class_path={name}") for name in ("CAM", "wsss_bench.methods.cam.CAM")
    )
    assert short.stages.keys() == full.stages.keys()
    assert short.experiment == full.experiment
    with pytest.raises(ConfigError, match=r"--set cam:model.class_path=Camm: .*did you mean 'CAM'"):
        plan(project, "cam:model.class_path=Camm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cam", "expected --set [ROW[,ROW...]:]KEY=VALUE"),
        ("=1", "expected --set"),
        ("cam:=1", "expected --set"),
        ("cam:trainer..max_epochs=1", "expected --set"),
        ("cma:trainer.max_epochs=1", "'cma' is no row of the experiment; did you mean 'cam'?"),
        ("cam,fulll:trainer.max_epochs=1", "'fulll' is no row of the experiment; did you mean 'full'?"),
        ("cam:trainr.max_epochs=1", "did you mean trainer.max_epochs?"),
        ("cam:width=1", "did you mean model.init_args.width?"),
        ("cam:model=1", "expected a key below model"),
        ("cam:bench.threshold=1.5", "bench.threshold is 1.5; expected a number at least 0 and at most 1"),
        ("cam:bench.threshold=high", "bench.threshold: expected a number; got 'high'"),
        ("cam:bench.thresold=0.5", "unknown key; did you mean 'threshold'?"),
        ("cam:trainer.max_epochs=.nan", "expected a finite number"),
        ("cam:trainer.max_epochs=[1", "the value is not valid YAML"),
        ("cam:bench.warm_start=clms", "did you mean 'clims'?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_nearest_names(project, change, message):
    with pytest.raises(ConfigError) as error:
        plan(project, change)
    assert message in str(error.value)


def test_the_table_has_a_folder_of_its_own_and_names_the_changes(project, capsys):
    experiment = str(project.experiment())
    command = ["table", experiment, "--runs", str(project.runs), "--set", "cam:trainer.max_epochs=1"]
    assert main(command) == 0
    (board,) = project.runs.glob("*/leaderboard.md")
    assert "cam (trainer.max_epochs=1)" in board.read_text()
    assert {path.name.startswith("toy-set-") for path in project.runs.iterdir()} == {True}
    assert main(["bench", experiment, "--runs", str(project.runs), "--set", "cam"]) == 1
    assert "expected --set" in capsys.readouterr().err


def test_published_results_do_not_apply_to_a_changed_row(project):
    experiment = str(project.experiment())
    for change, published in (([], True), (["--set", "cam:trainer.max_epochs=1"], False)):
        runs = project.runs / str(published)
        assert main(["table", experiment, "--runs", str(runs), *change]) == 0
        (board,) = runs.glob("*/leaderboard.md")
        assert ("48.3" in board.read_text()) is published
