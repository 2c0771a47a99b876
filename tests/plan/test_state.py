"""What the plan says about stages that are done: code and inputs that have changed, and damaged files."""

from __future__ import annotations

import json
import shutil

import pytest
from fakes import run_stage
from project import Project

from wsss_bench.artifacts.files import MANIFEST, read_manifest, write_manifest
from wsss_bench.artifacts.layout import BEGUN_FILE, LAST
from wsss_bench.artifacts.metrics import METRICS
from wsss_bench.plan.again import stages_to_run_again
from wsss_bench.plan.description import describe
from wsss_bench.plan.plan import StageFolder
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.state import CODE_CHANGED, CODE_UNKNOWN, INPUT_CHANGED, states_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """All stages of CAM, CLIMS (which starts from CAM) and zero; the methods are own modules."""
    project = Project(tmp_path_factory.mktemp("finished"))
    project.write("own_cam_of_state.py", "import own_block_of_state\nclass CAM: pass\n")
    project.write("own_clims_of_state.py", "class CLIMS: pass\n")
    project.write("own_block_of_state.py", "SCALE = 1\n")
    for name in ("cam", "clims"):
        text = (project.root / f"configs/methods/{name}.yaml").read_text()
        project.write(f"configs/methods/{name}.yaml", text.replace("fake.", f"own_{name}_of_state."))
    file = project.experiment(methods=["cam", "clims", "zero"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(project.root)
        for stage in make_plan(file, project.runs).stages.values():
            stage.write_plan()
            run_stage(stage.arguments)
    return project


@pytest.fixture
def done(finished, tmp_path, monkeypatch):
    project = finished.copy_to(tmp_path / "project")
    monkeypatch.syspath_prepend(project.root)
    project.plan = make_plan(project.root / "experiments/toy.yaml", project.runs)
    return project


def stage_named(project, name):
    return next(stage for stage in project.plan.stages.values() if stage.name == name)


def lines(project, *again):
    plan, states = project.plan, states_of(project.plan)
    keys = {stage.fingerprint for stage in stages_to_run_again(plan, again, states)}
    return list(describe(plan, StageFolder(project.runs), states, keys))


def names(project, *again):
    return [stage.name for stage in stages_to_run_again(project.plan, again, states_of(project.plan))]


def changed(project):
    """Names of the stages that have changed, with their changes."""
    plan, states = project.plan, states_of(project.plan)
    return {plan.stages[key].name: state.changes for key, state in states.items() if state.changes}


def test_nothing_has_changed(done):
    assert changed(done) == {}
    assert all(state.progress == "complete" for state in states_of(done.plan).values())
    assert lines(done)[-1] == f"{len(done.plan.stages)} stages: {len(done.plan.stages)} complete, 0 to run"
    assert names(done, "changed") == []


CAM = ["train cam-toy-s0", "seed cam-toy-s0"]
"""The stages that run the class of CAM."""


@pytest.mark.parametrize("name", ["own_cam_of_state", "own_block_of_state"])
def test_edited_code_is_shown_at_the_stages_that_run_it(done, name):
    done.write(f"{name}.py", (done.root / f"{name}.py").read_text() + "EDITED = True\n")
    assert changed(done) == {stage: {CODE_CHANGED: [name]} for stage in CAM}
    shown = lines(done)
    assert [line for line in shown if line.endswith(f"complete, code changed: {name}")] == shown[:2]
    assert shown[-1].endswith("0 to run, 2 code changed")
    assert any("--again changed" in line for line in shown)
    # whatever reads them is run again too: CLIMS starts from CAM
    again = names(done, "changed")
    assert again[:2] == CAM
    assert {name for name in again if "clims" in name} == {
        stage.name for stage in done.plan.stages.values() if "clims" in stage.title
    }
    assert not [name for name in again if "zero" in name]
    shown = lines(done, "changed")
    assert shown[-1].startswith(f"{len(done.plan.stages)} stages: 8 complete, {len(again)} to run")
    assert "code changed" not in shown[-1]
    assert shown[0].endswith("complete, removed and run again")


def test_a_comment_changes_nothing(done):
    done.write("own_cam_of_state.py", '"""Doc."""\n\nimport own_block_of_state  # why\n\n\nclass CAM: pass\n')
    assert changed(done) == {}


def test_code_that_nobody_recorded_is_unknown_and_kept(done):
    for stage in (stage_named(done, name) for name in CAM):
        content = read_manifest(stage.path)
        del content["code"]
        write_manifest(stage.path, content)
    assert changed(done) == {name: {CODE_UNKNOWN: []} for name in CAM}
    shown = lines(done)
    assert sum("the code that 2 stages ran is unknown" in line for line in shown) == 1
    assert shown[0].endswith("complete, skipped")
    assert names(done, "changed") == []


def test_on_another_machine_own_modules_are_unknown(done):
    (done.root / "own_clims_of_state.py").unlink()
    assert set(changed(done)) == {"train clims-toy-s0", "seed clims-toy-s0"}
    assert all(set(changes) == {CODE_UNKNOWN} for changes in changed(done).values())


def test_an_interrupted_stage_says_that_its_code_has_changed(done):
    train = stage_named(done, "train cam-toy-s0")
    manifest = read_manifest(train.path)
    (train.path / MANIFEST).unlink()
    (train.path / BEGUN_FILE).write_text(json.dumps({key: manifest[key] for key in ("code", "read")}))
    assert lines(done)[0].endswith("interrupted, resumes")
    done.write("own_block_of_state.py", "SCALE = 2\n")
    assert lines(done)[0].endswith("interrupted, resumes, code changed: own_block_of_state")


def test_a_stage_that_read_something_else_is_shown(done):
    """A checkpoint was lost and made again, with another result: its seeds are still those of the first."""
    train = stage_named(done, "train cam-toy-s0")
    content = read_manifest(train.path)
    content["files"]["sha256"] = "0" * 64
    write_manifest(train.path, content)
    found = changed(done)
    assert found["seed cam-toy-s0"] == {INPUT_CHANGED: ["train cam-toy-s0"]}
    assert set(found) == {"seed cam-toy-s0", "train clims-toy-s0"}  # both read it
    assert lines(done)[1].endswith("complete, input changed: train cam-toy-s0")


@pytest.mark.parametrize("kind", ["train", "seed", "refine", "evaluate"])
def test_missing_files_are_damage_without_being_asked(done, kind):
    stage = next(stage for stage in done.plan.stages.values() if stage.kind == kind)
    name = {"train": str(LAST), "seed": "seeds/2.npz", "refine": "masks/2.png", "evaluate": METRICS}[kind]
    (stage.path / name).unlink()
    states = states_of(done.plan)
    damaged = {key: state.damaged for key, state in states.items() if state.progress == "damaged"}
    assert damaged == {stage.fingerprint: [name]}
    (line,) = (line for line in lines(done) if "damaged" in line)
    assert line.endswith(f"damaged, run again: {name}")
    assert lines(done)[-1].startswith(
        f"{len(done.plan.stages)} stages: {len(done.plan.stages) - 1} complete, 1"
    )


@pytest.mark.parametrize("old_version", [False, True])
@pytest.mark.parametrize("content", ["", "{", "{}", "null", '{"rows": 1}'])
def test_scores_that_cannot_be_read_are_damage(done, content, old_version):
    stage = next(stage for stage in done.plan.stages.values() if stage.kind == "evaluate")
    if old_version:
        manifest = read_manifest(stage.path)
        del manifest["files"]
        write_manifest(stage.path, manifest)
    (stage.path / METRICS).write_text(content)
    assert states_of(done.plan)[stage.fingerprint].damaged == [METRICS]


def test_an_edited_score_of_the_same_length_is_damage(done):
    stage = next(stage for stage in done.plan.stages.values() if stage.kind == "evaluate")
    text = (stage.path / METRICS).read_text()
    (stage.path / METRICS).write_text(text.replace("0.9", "0.8"))
    assert states_of(done.plan)[stage.fingerprint].damaged == [METRICS]


@pytest.mark.parametrize("content", ["", '{"kind"', "[1]"])
def test_a_broken_manifest_is_damage_and_stops_no_plan(done, content):
    train = stage_named(done, "train cam-toy-s0")
    (train.path / MANIFEST).write_text(content)
    plan = make_plan(done.root / "experiments/toy.yaml", done.runs)
    assert states_of(plan)[train.fingerprint].damaged == [MANIFEST]
    list(describe(plan, StageFolder(done.runs)))


def test_copied_runs_are_intact(done, tmp_path):
    shutil.copytree(done.runs, tmp_path / "copy")
    plan = make_plan(done.root / "experiments/toy.yaml", tmp_path / "copy")
    assert all(state.progress == "complete" for state in states_of(plan).values())


def with_suffix(project, *titles):
    return {stage.name for stage in project.plan.stages.values() if stage.title.startswith(titles)}


def test_a_row_stands_for_its_stages_and_what_reads_them(done):
    everything = {stage.name for stage in done.plan.stages.values()}
    assert set(names(done, "zero")) == with_suffix(done, "zero-")
    assert set(names(done, "clims")) == with_suffix(done, "clims-")  # not the training that it starts from
    assert set(names(done, "cam")) == everything - with_suffix(done, "zero-")
    assert set(names(done, "clims", "zero")) == with_suffix(done, "clims-", "zero-")


def test_a_stage_has_many_names(done):
    refine = stage_named(done, "refine clims-toy-s0-threshold")
    expected = ["refine clims-toy-s0-threshold", "evaluate clims-toy-s0-threshold"]
    for name in (refine.name, refine.path.name, refine.fingerprint[:8], refine.fingerprint):
        assert names(done, name) == expected


def test_the_training_that_a_lonely_row_starts_from_belongs_to_it(project):
    project.plan = make_plan(project.experiment(methods=["clims"]), project.runs)
    assert set(names(project, "clims")) == {stage.name for stage in project.plan.stages.values()}


def test_a_row_is_told_from_one_whose_name_begins_alike(project):
    variants = {"cam-toy": {"method": "cam", "override": {"model": {"init_args": {"width": 4}}}}}
    project.plan = make_plan(project.experiment(methods=["cam"], variants=variants), project.runs)
    assert set(names(project, "cam-toy")) == with_suffix(project, "cam-toy-toy-")
    assert set(names(project, "cam")) == with_suffix(project, "cam-toy-s0")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("clim", "did you mean 'clims'"), ("seed cam-toy-s1", "'seed cam-toy-s0'"), ("chnged", "'changed'")],
)
def test_an_unknown_name_is_refused_with_the_nearest(done, name, hint):
    with pytest.raises(ConfigError) as error:
        names(done, "cam", name)
    assert f"{name!r} is no row, no stage" in str(error.value)
    assert hint in str(error.value)
    assert "Rows: cam, clims, zero." in str(error.value)
